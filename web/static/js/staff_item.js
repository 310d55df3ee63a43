// One held text on the adult's page: read it (a logged claim), decide, or answer in the chat.
//
//   const card = new HeldCard({item, onchange, answer, alertable, title});
//     item       {id, kind?, state?, labels?}   answer  null, or a function that takes the adult into the chat
//     alertable  true offers "Open an alert about it"     onchange(card, decided)
//   card.node    the element;  card.drop()  gives a claim back (nothing of the text stays in the page)
//
//   const wait = new Undoable({seconds, run, tick})  a decision that waits; wait.undo(), wait.now()

import { api, busy, el, icon, notice, say } from "./dom.js";
import { everySecond, marked, reasonList, transcript, words } from "./staff.js";
import { REASONS, aboutAll, clock, likelyReason, roleWord } from "./staff_words.js";

export const UNDO_S = 5;

/** Runs once, after a while, unless undone; at once when the page goes away. */
export class Undoable {
  #timer;
  #run;
  #onleave = () => this.now({ leaving: true });
  done = false;

  constructor({ seconds = UNDO_S, run }) {
    this.#run = run;
    this.until = Date.now() + seconds * 1000;
    this.#timer = setTimeout(() => this.now(), seconds * 1000);
    addEventListener("pagehide", this.#onleave);
  }

  get left() {
    return Math.max(0, Math.ceil((this.until - Date.now()) / 1000));
  }

  undo() {
    if (this.done) return false;
    this.#finish();
    return true;
  }

  now(how = {}) {
    if (this.done) return undefined;
    this.#finish();
    return this.#run(how);
  }

  #finish() {
    this.done = true;
    clearTimeout(this.#timer);
    removeEventListener("pagehide", this.#onleave);
  }
}

/** Sends one decision. Resolves to the server's answer, or null where it had none. */
export function decide(id, { decision, reason, note }, { leaving = false } = {}) {
  return api("POST", `/api/review/${encodeURIComponent(id)}/decide`, { decision, reason, note }, { keepalive: leaving });
}

const SAYING = {
  release: "Sending it",
  withhold: "Not sending it",
  escalate: "Opening an alert; it stays unsent until that is decided",
};

let serial = 0;

export class HeldCard {
  state = "closed"; // "open", "waiting" (undo), "decided"
  #claim = null;
  #wait = null;
  #off = null;

  constructor({ item, onchange = () => {}, answer = null, alertable = false, title = "Held text" }) {
    serial += 1;
    Object.assign(this, { item, onchange, answer, alertable, title, key: `held-${serial}` });
    this.node = el("section", { class: "card card--pad stack stack-3 heldcard", "aria-labelledby": `${this.key}-h`, dataset: { item: item.id } });
    this.#closed();
  }

  get id() {
    return this.item.id;
  }

  async drop() {
    this.#off?.();
    if (this.#wait) await this.#wait.now();
    else if (this.#claim) {
      this.#claim = null;
      await api("POST", `/api/review/${encodeURIComponent(this.id)}/release-claim`, {}, { keepalive: true }).catch(() => {}); // else it lapses by itself
    }
    this.node.replaceChildren();
  }

  async read() {
    try {
      this.#claim = await api("POST", `/api/review/${encodeURIComponent(this.id)}/claim`, {});
    } catch (error) {
      this.#closed(words(error));
      return;
    }
    this.#open();
  }

  #fill(...nodes) {
    this.node.replaceChildren(...nodes.filter(Boolean));
  }

  #head(text) {
    return el("h3", { class: "lead", id: `${this.key}-h`, tabindex: "-1", text });
  }

  #closed(trouble = "") {
    this.state = "closed";
    const taken = this.item.state === "claimed" && !this.item.mine && this.item.holder;
    const button = el("button", { class: "btn", type: "button", onclick: () => busy(button, () => this.read()) }, icon("eye"), "Read it and decide");
    this.#fill(this.#head(this.title), trouble ? notice({ tone: "warn", icon: "warn", text: trouble, role: "status" }) : null,
      el("p", { class: "small soft", text: taken ? `${this.item.holder} is looking at it.` : "Reading is logged, and makes it yours for 10 minutes." }), el("div", { class: "row row--wrap" }, button));
  }

  #open() {
    this.state = "open";
    const claim = this.#claim;
    const item = { ...this.item, ...claim.item };
    this.item = item;
    const list = el("ol", { class: "reasons small" });
    reasonList(list, { ...claim, item });
    const context = el("ol", { class: "lines" });
    transcript(context, claim.context);
    const select = el("select", { class: "select", id: `${this.key}-reason` }, REASONS.map(([value, text]) => el("option", { value, text })));
    select.value = likelyReason(item.labels);
    const note = el("input", { class: "input", id: `${this.key}-note`, type: "text", maxlength: "500", autocomplete: "off" });
    const trouble = el("div", {});
    const button = (decision, text, more, name) => el("button", { class: `btn ${more}`.trim(), type: "button", dataset: { decide: decision }, onclick: () => this.#choose(decision, select.value, note.value.trim() || null) }, name ? icon(name) : null, text);
    const buttons = el("div", { class: "row row--wrap" }, button("release", "Send it", "", "send"), button("withhold", "Don’t send", "", "stop"),
      this.answer ? el("button", { class: "btn btn--primary", type: "button", dataset: { decide: "answer" }, onclick: (event) => busy(event.currentTarget, () => this.answer()) }, icon("chat"), "Answer in the chat") : null,
      this.alertable ? button("escalate", "Open an alert about it", "btn--alarm", "bell") : null);
    this.trouble = trouble;
    this.#fill(
      this.#head(item.sender_role ? `${this.title}, from the ${roleWord(item.sender_role).toLowerCase()}` : this.title),
      el("p", { class: "small soft" }, "Read by you, ", el("span", { class: "num", text: clock(new Date()) }), claim.until ? `. Yours until ${clock(claim.until)}.` : "."),
      el("blockquote", { class: "subject" }, ...marked(claim.text ?? "", claim.marks, { numbers: true })),
      claim.note ? el("p", { class: "small" }, el("b", { text: "Whoever reported it wrote: " }), claim.note) : null,
      list,
      claim.context?.length ? el("details", {}, el("summary", { text: "What was said before it" }), context) : null,
      el("div", { class: "field" }, el("label", { class: "small", for: select.id, text: "Why, if it isn’t sent (the sender is told this kind of reason)" }), select),
      el("div", { class: "field" }, el("label", { class: "small", for: note.id, text: "Note for the record (if it helps)" }), note),
      this.alertable && item.risk !== "none" ? el("p", { class: "small soft", text: "To answer in the chat yourself, open an alert about it: you can join from there." }) : null,
      trouble, buttons,
    );
    this.node.querySelector("h3").focus({ preventScroll: true });
    this.onchange(this, false);
  }

  #choose(decision, reason, note) {
    this.state = "waiting";
    this.trouble.replaceChildren();
    const body = { decision, reason, note };
    this.#wait = new Undoable({ run: (how) => this.#send(body, how) });
    const left = el("span", { class: "num", "aria-hidden": "true", text: `${UNDO_S} s` });
    const undo = el("button", { class: "btn", type: "button", text: "Undo", onclick: () => {
      if (!this.#wait?.undo()) return;
      this.#off?.();
      this.#wait = null;
      row.replaceWith(buttons);
      this.state = "open";
      say("Undone. Nothing was decided.");
      buttons.querySelector(`[data-decide="${decision}"]`)?.focus();
    } });
    const row = el("div", { class: "undo", role: "status" }, el("span", { class: "grow", text: `${SAYING[decision]}.` }), left, undo);
    const buttons = this.node.querySelector("[data-decide]").parentElement;
    buttons.replaceWith(row);
    undo.focus();
    this.#off?.();
    this.#off = everySecond(() => {
      left.textContent = `${this.#wait?.left ?? 0} s`;
    });
    this.buttons = buttons;
    this.row = row;
  }

  async #send(body, how) {
    this.#off?.();
    this.#wait = null;
    let answer = null;
    try {
      answer = await decide(this.id, body, how);
    } catch (error) {
      this.state = "open";
      this.row.replaceWith(this.buttons);
      this.trouble.replaceChildren(notice({ tone: "warn", icon: "warn", text: words(error), role: "status" }));
      this.onchange(this, false);
      return;
    }
    this.state = "decided";
    this.#claim = null;
    const done = { release: "It was sent.", withhold: "It was not sent. The sender is told why.", escalate: "An alert is open, and the text waits in it." }[body.decision];
    const later = body.decision === "release" && answer?.delivered === false;
    this.#fill(this.#head(this.title), notice({ icon: "tick", text: `${later ? "It goes as soon as the chat goes on." : done} Decided by you, ${clock(new Date())}.` }),
      el("p", { class: "small soft", text: aboutAll(this.item.labels) }));
    this.node.querySelector("h3").focus({ preventScroll: true });
    this.onchange(this, true);
  }
}
