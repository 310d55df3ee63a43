// Duty beyond the page's own lease: holding it by phone, handing alerts over, and what the rota says.

import { $, api, busy, el, say, toast } from "./dom.js";
import { everySecond, words } from "./staff.js";
import { clock, count, listed, moment } from "./staff_words.js";

const POLL_MS = 60_000;

/** Draws the card "Holding and handing over" of the desk's home, and sees to what is pressed there. */
export class DutyCard {
  #line;
  #duty;

  constructor(line, duty) {
    this.#line = line;
    this.#duty = duty;
    line.on("welcome", () => this.load());
    line.on("site", () => this.load());
    line.on("handover", (frame) => this.#told(frame));
    line.on("alert", (frame) => ["acknowledged", "in_hand", "closed"].includes(frame.change) && this.load());
    $("#phone-on").addEventListener("click", (event) => busy(event.currentTarget, () => this.#press()));
    $("#handover").addEventListener("submit", (event) => {
      event.preventDefault();
      busy($("#handover-button"), () => this.#send("/api/duty/handover", { to: $("#handover-to").value }));
    });
    let polled = Date.now();
    everySecond((now) => {
      if (now - polled <= POLL_MS) return;
      polled = now;
      this.load();
    });
  }

  async load() {
    try {
      this.#draw(await api("GET", "/api/duty"));
    } catch (error) {
      if (error.status !== 401) this.#trouble(words(error));
    }
  }

  async #press() {
    try {
      const done = await this.#line.request({ type: "duty", on: true, phone: true }, { keep: false });
      say(`You hold duty by phone until ${clock(done.until)}.`);
      this.#duty.held(done.until);
      await this.load();
    } catch (error) {
      this.#trouble(words(error));
    }
  }

  async #send(path, body = {}) {
    try {
      await api("POST", path, body);
      await this.load();
    } catch (error) {
      await this.load();
      this.#trouble(words(error));
    }
  }

  #told(frame) {
    const alerts = count(frame.alerts, "open alert");
    const text = {
      offered: `${frame.from} offers ${frame.to} ${alerts}.`,
      accepted: `${frame.to} has taken over from ${frame.from}.`,
      declined: `${frame.to} can’t take over just now. It stays with ${frame.from}.`,
      withdrawn: `${frame.from} keeps it after all.`,
    }[frame.change];
    if (text) toast(text, { icon: "people" });
    this.load();
  }

  #trouble(text) {
    $("#handover-error").hidden = !text;
    $("#handover-error-words").textContent = text;
  }

  #draw(found) {
    this.#trouble("");
    const expected = found.expected.filter((each) => each.part === "duty").map((each) => each.name);
    const next = found.turns.find((each) => new Date(each.end) > new Date());
    const facts = [
      expected.length ? `Down for duty now: ${listed(expected)}.` : "",
      next ? `Your next turn: ${moment(next.begin)} to ${clock(next.end)}.` : "",
      found.closes_at ? `It closes at ${clock(found.closes_at)}. Chats end then, but not one with an open urgent alert.` : "",
    ].filter(Boolean);
    $("#duty-facts").textContent = facts.join(" ");
    $("#duty-facts").hidden = !facts.length;
    const phone = found.phone_until && new Date(found.phone_until) > new Date();
    $("#phone-on").textContent = phone ? "Still here" : `Hold duty by phone for ${found.phone.minutes} minutes`;
    $("#phone-on").disabled = !found.phone.ready;
    $("#phone-words").textContent = phone
      ? `By phone until ${clock(found.phone_until)}, also while it is locked. Press again before then.`
      : found.phone.ready ? "A locked phone keeps no page awake. One press holds duty while you walk about." : "First try a way to reach you today, such as this browser’s notifications. A locked phone must be able to call you.";
    const alone = found.on_duty.length < 2;
    $("#stay-words").textContent = found.mine ? "You have an open alert. Close it, or hand it over and wait until they accept, before you end duty." : alone && found.waiting ? `${count(found.waiting, "alert")} with nobody on ${found.waiting === 1 ? "it" : "them"} yet, and nobody else is on duty. Don’t go before somebody has taken it.` : "";
    $("#stay-words").hidden = !found.until || !$("#stay-words").textContent;
    const takers = found.on_duty.filter((each) => each.may_take);
    const sent = found.offers.find((each) => each.mine);
    $("#handover").hidden = !takers.length || Boolean(sent) || !found.mine;
    const chosen = $("#handover-to").value;
    $("#handover-to").replaceChildren(...takers.map((each) => el("option", { value: each.id, text: each.name })));
    if (takers.some((each) => each.id === chosen)) $("#handover-to").value = chosen;
    $("#offers").replaceChildren(...found.offers.map((each) => this.#offer(each)));
  }

  #offer(each) {
    const path = `/api/duty/handover/${encodeURIComponent(each.id)}`;
    const button = (text, word, look = "") => {
      const found = el("button", { class: `btn btn--slim ${look}`.trim(), type: "button", text, onclick: () => busy(found, () => this.#send(`${path}/${word}`)) });
      return found;
    };
    const alerts = count(each.alerts, "open alert");
    return each.mine
      ? el("li", {}, el("span", { class: "grow", text: `Offered to ${each.to}, who has until ${clock(each.until)} to answer. Until then it is yours.` }), button("Take it back", "withdraw"))
      : el("li", {}, el("span", { class: "grow", text: `${each.from} asks you to take over ${alerts}. Answer by ${clock(each.until)}.` }), button("Take over", "accept", "btn--primary"), button("Not now", "decline"));
  }
}
