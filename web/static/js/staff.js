// What the staff's pages share: a clock that keeps its pace out of sight, marked texts, transcripts, parts of a page on
// a phone, problems in words, the line's state, signing out, duty.
//
//   everySecond(fn)                    fn(now) each second, also in a hidden tab (a worker counts)
//   marked(text, marks, {numbers, hide})  nodes of a text with its marks; ranges are code points; {hide: true} leaves the
//                                      marked words out of the page
//   numbered(marks)                    the same marks, sorted by where they end, without repeats, each with its `number`
//   transcript(list, items, {hide})    fills an <ol class="lines">
//   badge(text, className, iconName)   a word in a pill
//   parts(start)                       the buttons of #parts switch columns on narrow screens; returns choose(name)
//   words(error)                       what to tell a person about an ApiError or LineError
//   problem(box, text)                 shows, or with "" hides, a notice whose <p> holds the words
//   wrong(field, on)                   marks a field and its .error; returns on
//   confirmed({title, text, yes})      asks in #confirm; resolves to a boolean
//   lineState(line)                    keeps #offline true
//   signOut(button, before)            ends the session and goes to the sign-in page
//   Duty                               the duty lease of this page's person

import { $, $$, api, el, icon, meta, openDialog } from "./dom.js";
import { about, capital, clock, moment, roleWord, statusWord } from "./staff_words.js";

// ---------------------------------------------------------------------------- seconds

const listeners = new Set();
let ticking = false;

export function everySecond(fn) {
  listeners.add(fn);
  if (!ticking) startTicking();
  return () => listeners.delete(fn);
}

function startTicking() {
  ticking = true;
  let last = 0;
  const beat = () => {
    const now = Date.now();
    if (now - last < 700) return; // two sources of beats, one beat a second
    last = now;
    for (const fn of listeners) {
      try {
        fn(now);
      } catch (error) {
        reportError(error); // one listener's fault never stops an alarm or a duty
      }
    }
  };
  setInterval(beat, 1000);
  try {
    new Worker("/static/js/staff_tick.js").onmessage = beat;
  } catch {
    // no workers here: the page's own timer goes on, more slowly when it is hidden
  }
}

// ---------------------------------------------------------------------------- texts

export function numbered(marks) {
  const seen = new Map();
  for (const mark of marks ?? []) {
    if (!(mark.end > mark.start)) continue;
    const key = `${mark.start}-${mark.end}-${mark.label}`;
    if (!seen.has(key)) seen.set(key, { ...mark });
  }
  const sorted = [...seen.values()].sort((a, b) => a.end - b.end || a.start - b.start); // each number stands at its mark's end
  return sorted.map((mark, index) => ({ ...mark, number: index + 1 }));
}

export function marked(text, marks, { numbers = false, hide = false } = {}) {
  const points = [...text];
  const all = numbers ? numbered(marks) : joined(marks);
  const cuts = [...new Set([0, points.length, ...all.flatMap((m) => [m.start, m.end])])]
    .filter((n) => n >= 0 && n <= points.length)
    .sort((a, b) => a - b);
  const nodes = [];
  for (let i = 0; i + 1 < cuts.length; i += 1) {
    const [start, end] = [cuts[i], cuts[i + 1]];
    const piece = points.slice(start, end).join("");
    const over = all.filter((m) => m.start <= start && m.end >= end);
    if (over.length === 0) {
      nodes.push(document.createTextNode(piece));
      continue;
    }
    const ends = over.filter((m) => m.end === end);
    const number = numbers && ends.length ? el("sup", { text: ends.map((m) => m.number).join(", ") }) : null;
    nodes.push(el("mark", {}, ...(hide ? hidden(piece) : [piece]), number));
  }
  return nodes;
}

/** What is marked at all, as ranges that don't touch. */
function joined(marks) {
  const ranges = [];
  for (const { start, end } of numbered(marks).sort((a, b) => a.start - b.start)) {
    const last = ranges.at(-1);
    if (last && start <= last.end) last.end = Math.max(last.end, end);
    else ranges.push({ start, end });
  }
  return ranges;
}

/** Nodes that take the room of some words without being them. */
export function hidden(words) {
  const shape = words.replace(/\S/gu, "x");
  return [el("span", { class: "blur", "aria-hidden": "true", text: shape }), el("span", { class: "sr", text: "hidden words" })];
}

export function badge(text, className = "", iconName = "") {
  return el("span", { class: `badge ${className}`.trim() }, iconName ? icon(iconName) : null, text);
}

const SET_ASIDE = new Set(["held", "withheld", "blocked", "paused"]);

/** Fill an ordered list with lines of a chat. `who(from)` names the writer; `hide` leaves out what was set aside. */
export function transcript(list, items, { hide = false, who = (from) => from?.alias ?? roleWord(from?.role), current = "" } = {}) {
  list.replaceChildren(...(items ?? []).map((item) => {
    const word = statusWord(item.status);
    const aside = SET_ASIDE.has(item.status);
    const text = hide && aside && !item.marks?.length ? hidden(item.text ?? "") : marked(item.text ?? "", item.marks, { hide: hide && aside });
    return el("li", { class: item.evidence || (item.message && item.message === current) ? "is-current" : null },
      el("time", { datetime: item.at, title: moment(item.at), text: clock(item.at) }),
      el("b", { text: who(item.from) }),
      el("span", { class: "said" }, word ? badge(word, aside ? "badge--held" : "") : null, word ? " " : null, ...text));
  }));
}

/**
 * The reasons under a held text: one row for each mark, numbered as in the text, then what has no place in it. Only
 * what raised the risk or held the message (the item's labels) is a reason; a classifier's faint guesses are not.
 */
export function reasonList(list, { marks, why, degraded, item }) {
  const labels = new Set(item?.labels ?? []);
  const counts = ({ label, score }) => (labels.size ? labels.has(label) : (score ?? 1) >= 0.5);
  const rows = numbered(marks).map((mark) => ({ number: String(mark.number), label: mark.label, from: [source(mark, why)] }));
  for (const reason of (why ?? []).filter(counts)) {
    if ((marks ?? []).some((mark) => mark.label === reason.label && mark.why === reason.why)) continue;
    const same = rows.find((each) => each.label === reason.label);
    if (same) same.from.push(source(reason, why));
    else rows.push({ number: "–", label: reason.label, from: [source(reason, why)] });
  }
  for (const label of rows.length ? [] : labels) rows.push({ number: "–", label, from: [] });
  const nodes = rows.map(({ number, label, from }) => reasonRow(number, capital(about(label)), capital([...new Set(from)].filter(Boolean).join(", "))));
  const silent = (degraded ?? []).filter((stage) => stage !== "language");
  if (degraded?.includes("language")) nodes.push(reasonRow("?", "The checks may not read this language", "Held, whatever else they found in it"));
  if (silent.length) nodes.push(reasonRow("?", "A check gave no answer, so it was held", capital(silent.join(", "))));
  if (!nodes.length) nodes.push(reasonRow("–", "No check marked anything in it", ""));
  list.replaceChildren(...nodes);
}

const STAGES = { linear: "text classifier", toxicity: "toxicity classifier", detoxify: "toxicity classifier", trajectory: "the chat as a whole", contact: "contact check" };

/** "rule harassment.insult", or "text classifier 0.97". */
function source({ why: id, label, stage, score }, all) {
  const known = (all ?? []).find((each) => each.label === label && each.why === id) ?? {};
  if (known.words) return known.words;
  const from = stage ?? known.stage;
  const sure = score ?? known.score;
  if (!from || from === "rules") return `rule ${id}`;
  const name = STAGES[from] ?? from;
  if (from === "contact" || sure === undefined) return id && id !== from ? `${name} (${id})` : name;
  return `${name} ${sure.toFixed(2)}`;
}

function reasonRow(number, words, from) {
  return el("li", {}, el("span", { class: "n", text: number, "aria-hidden": /^\d/.test(number) ? null : "true" }), el("span", {}, el("b", { text: `${words}. ` }), from ? el("span", { class: "soft", text: `${from}.` }) : null));
}

// ---------------------------------------------------------------------------- the page

export function parts(start) {
  const desk = $("#desk");
  const buttons = $$("#parts [data-part]");
  const choose = (name) => {
    const moved = desk.dataset.part !== name;
    desk.dataset.part = name;
    if (moved && narrow()) scrollTo(0, Math.min(scrollY, $(".desk__body").offsetTop - $("#parts").offsetHeight));
    for (const button of buttons) {
      if (button.dataset.part === name) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  };
  for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.part));
  $(".skip").addEventListener("click", () => choose("main"));
  choose(start);
  return choose;
}

/** True where the columns are parts to switch between. */
export const narrow = () => matchMedia("(max-width: 63.99rem)").matches;

export function words(error) {
  if (error?.name === "AbortError") return "";
  if (error?.status === 0 || error?.code === "lost") return "We can’t reach the server just now. Nothing was changed; try again in a moment.";
  if (error?.status === 401) return "You’re signed out. Sign in again to go on.";
  if (error?.status >= 500) return "The server couldn’t do it just now. Nothing was changed; try again in a moment.";
  if (error?.status === 404) return "It isn’t there any more, or isn’t yours to see.";
  const detail = error?.detail || error?.title || "";
  if (detail) return `${capital(detail)}${/[.!?]$/.test(detail) ? "" : "."}`;
  return "That didn’t work. Nothing was changed; try again.";
}

export function problem(box, text) {
  box.hidden = !text;
  const at = $("p", box);
  if (at.textContent !== text) at.textContent = text;
  return text;
}

export function wrong(fieldId, on) {
  const field = $(`#${fieldId}`).closest(".field");
  const control = $(`#${fieldId}`);
  const error = $(".error", field);
  field.classList.toggle("field--wrong", on);
  if (error) error.hidden = !on;
  if (on) {
    control.setAttribute("aria-invalid", "true");
    if (error) control.setAttribute("aria-describedby", [...new Set([error.id, ...(control.getAttribute("aria-describedby") ?? "").split(" ")])].filter(Boolean).join(" "));
  } else control.removeAttribute("aria-invalid");
  return on;
}

export async function confirmed({ title, text, yes, no = "Go back" }) {
  const dialog = $("#confirm");
  $("#confirm-h").textContent = title;
  $("#confirm-words").textContent = text;
  $("#confirm-yes").textContent = yes;
  $("#confirm-no").textContent = no;
  return (await openDialog(dialog)) === "yes";
}

export function lineState(line, { onopen = () => {} } = {}) {
  const box = $("#offline");
  const text = $("#offline-words");
  let later = 0;
  line.on("state", ({ state }) => {
    clearTimeout(later);
    if (state === "open") {
      box.hidden = true;
      onopen();
    } else if (state === "waiting" || state === "connecting") {
      // A short gap is nobody's news.
      later = setTimeout(() => {
        text.textContent = "We’ve lost the line to the server and are trying again. What you see may be out of date.";
        box.hidden = false;
      }, 2500);
    }
  });
  line.on("away", ({ code, text: why }) => {
    clearTimeout(later);
    text.replaceChildren(`${why} `, code === 4100 ? el("a", { href: "/staff", text: "Sign in again" }) : el("a", { href: location.pathname, text: "Load this page again" }));
    box.hidden = false;
  });
}

export function signOut(button, before = async () => true) {
  button.addEventListener("click", async () => {
    if (!(await before())) return;
    try {
      await api("DELETE", "/api/session");
    } catch (error) {
      if (error.status !== 401) {
        button.textContent = "Not signed out. Try again";
        return;
      }
    }
    location.replace("/staff");
  });
}

// ---------------------------------------------------------------------------- duty

const RENEW_MS = 30_000;
const LEASE_MS = 90_000;
const HERE = "duty-here";

/**
 * The duty lease. This page renews it every 30 s once its person has taken duty here; a lease that another page or
 * device keeps up is shown, and left alone until somebody presses.
 *
 *   duty.state    "unknown", "off", "here" (this page keeps it up), "elsewhere", "lapsed" (tries to get it back)
 *   duty.until    Date or null, by the server's clock
 *   duty.problem  words of the last refusal, or ""
 *   duty.seen(until)  what the overview says of this person: a lease kept up elsewhere, or null
 *   onchange()    after every change
 */
export class Duty {
  state = "unknown";
  until = null;
  problem = "";
  #line;
  #onchange;
  #asked = 0; // when this page last asked
  #granted = 0; // when the server last said yes; by this machine's clock, which may differ from the server's
  #phone = 0; // until when a press on a phone holds, by this machine's clock
  #busy = false;

  constructor(line, onchange) {
    this.#line = line;
    this.#onchange = onchange;
    line.on("welcome", (frame) => this.#welcomed(frame));
    everySecond((now) => this.#tick(now));
  }

  get on() {
    return this.state === "here" || this.state === "elsewhere";
  }

  async take() {
    const ok = await this.#ask(true);
    if (ok) {
      this.state = "here";
      remember(true);
    }
    this.#onchange();
    return ok;
  }

  /** A press on a phone holds duty until then: this page renews beside it, and needs not be awake for it. */
  held(until) {
    this.state = "here";
    this.until = new Date(until);
    this.problem = "";
    this.#granted = Date.now();
    this.#phone = Date.now() + Math.max(0, this.until - Date.now());
    remember(true);
    this.#onchange();
  }

  async end() {
    const ok = await this.#ask(false);
    if (ok) {
      this.state = "off";
      this.until = null;
      this.#phone = 0;
      remember(false);
    }
    this.#onchange();
    return ok;
  }

  seen(until) {
    if (this.state === "here" || this.state === "lapsed") return;
    const state = until ? "elsewhere" : "off";
    const date = until ? new Date(until) : null;
    if (state === this.state && date?.getTime() === this.until?.getTime()) return;
    this.state = state;
    this.until = date;
    this.#onchange();
  }

  #welcomed(frame) {
    const held = Boolean(frame.duty_until);
    const kept = this.state === "here" || this.state === "lapsed" || (held && remembered());
    if (kept) {
      // The same person in the same tab: a reload or a lost line must not end a duty.
      if (this.state !== "lapsed") this.state = "here";
      if (!this.#granted) this.#granted = Date.now();
      this.until = held ? new Date(frame.duty_until) : this.until;
      this.#renew();
    } else {
      remember(false);
      this.state = held ? "elsewhere" : "off";
      this.until = held ? new Date(frame.duty_until) : null;
    }
    this.#onchange();
  }

  #tick(now) {
    if (this.state !== "here" && this.state !== "lapsed") return;
    if (now - this.#asked >= (this.state === "here" && !this.problem ? RENEW_MS : RENEW_MS / 3)) this.#renew();
    if (this.state === "here" && now - this.#granted > LEASE_MS && now > this.#phone) {
      this.state = "lapsed";
      this.problem = "Your duty has lapsed: this page couldn’t reach the server for 90 seconds. It starts again by itself when the line is back.";
      this.#onchange();
    }
  }

  async #renew() {
    if (this.#busy) return;
    const was = this.problem;
    const ok = await this.#ask(true, { quiet: true });
    if (ok && this.state === "lapsed") this.state = "here";
    if (ok || was !== this.problem) this.#onchange();
  }

  async #ask(on, { quiet = false } = {}) {
    this.#busy = true;
    this.#asked = Date.now();
    try {
      const done = await this.#line.request({ type: "duty", on }, { keep: false });
      this.#granted = Date.now();
      this.until = done.until ? new Date(done.until) : null;
      this.problem = "";
      return true;
    } catch (error) {
      if (!quiet || error.code !== "lost") this.problem = words(error); // a lost line has its own notice
      return false;
    } finally {
      this.#busy = false;
    }
  }
}

function remember(on) {
  try {
    if (on) sessionStorage.setItem(HERE, meta("member"));
    else sessionStorage.removeItem(HERE);
  } catch {
    // then a reload asks for one more press
  }
}

function remembered() {
  try {
    return sessionStorage.getItem(HERE) === meta("member");
  } catch {
    return false;
  }
}
