// Conversations on a page: what was said, complete, in order and once; how it is drawn; the box to write in.
//
//   const threads = new Threads(line, {anchor: "end"});
//   threads.on("opened", (thread) => …)   a conversation is here: after `paired`, or open at `welcome`
//   threads.on("changed", (thread, what) => …)  "message", "state", "presence", "typing", "help", "members"
//   threads.on("ended", (thread) => …)
//   threads.get(id), threads.open(id, {partner, state, members, last_seq}), threads.all (a Map), threads.forget(id)
//   thread.post(text) -> client id        shows it at once; line.js sends it until it is acked
//   thread.heldAgain(item)                after `second_look` was done
//   thread.add({kind: "note", …})         a page's own entry at the end; `key` makes it one of a kind
//
// A thread: {id, partner {alias, role, topics}, members [{alias, role}], state "open" | "paused" | "ended", why,
//   notice, present (true, false, null), help ("asked" …), items, cursor}
// An item: {key, kind "message" | "event" | "note", order}. Messages also: {id (ours), message (the server's), seq,
//   mine, from, text, at, status "sending" | "delivered" | "held" | "blocked" | "withheld" | "refused", reason, marks,
//   looked (an adult looked first), late (over 400 ms), offline}
//   Events carry the server's `frame`: joined, left, paused, resumed, ended, help, support.
//
//   const view = new ThreadView(thread, {log, scroller, line, after, event, names, fresh});
//     log       the element with role="log"; scroller: what scrolls (default: log)
//     after(item)  what stands under one's own message: an element, or null (words.js: `ownNote`)
//     event(item, thread)  an element for an event or note, or null (words.js: `eventNote`)
//     fresh     a button "New messages", shown when somebody reads above; it is wired here
//   view.destroy()
//
//   new Composer({box, button, send(text) -> bool, typing(), problem(text)})
//     Enter sends and Shift+Enter makes a line; on touch Enter makes a line. Focus stays in the box.
//     composer.put(text) inserts at the cursor; composer.change(text, cancelled) edits an earlier message.
//
// Rules: dedupe by the server's message id, and of one's own by the client id; delivered ones by seq; what is
// not delivered stays where it was written. A seq above the next one, or a heartbeat that knows more, asks for
// history after the cursor; so does every `welcome`. The cursor never passes what has not arrived.

import { clock, dayClock, el, icon, meta, touch } from "./dom.js";

export const CHECKING_MS = 400;
export const MAX_TEXT = 2000; // code points
const TYPING_MS = 6000;
const TYPING_EVERY_MS = 3500;
const PAGE = 200;

class Emitter {
  #handlers = new Map();

  on(type, handler) {
    if (!this.#handlers.has(type)) this.#handlers.set(type, new Set());
    this.#handlers.get(type).add(handler);
    return () => this.#handlers.get(type).delete(handler);
  }

  emit(type, ...values) {
    for (const handler of [...(this.#handlers.get(type) ?? [])]) {
      try {
        handler(...values);
      } catch (error) {
        reportError(error);
      }
    }
  }
}

let orders = 0;

export class Thread extends Emitter {
  items = [];
  cursor = 0; // every seq up to here has arrived, or is not ours to see
  newest = 0; // the last seq that the server spoke of
  partner = null;
  members = [];
  state = "open";
  why = null;
  notice = "";
  present = null;
  help = null;
  typing = null;
  loading = false;
  #byMessage = new Map();
  #byId = new Map();
  #byKey = new Map();
  #seen = new Set(); // seqs above the cursor
  #typingTimer = 0;

  constructor(id, line) {
    super();
    this.id = id;
    this.line = line;
  }

  get lastSeq() {
    return this.items.reduce((most, item) => Math.max(most, item.seq ?? 0), Math.max(this.cursor, this.newest));
  }

  get open() {
    return this.state !== "ended";
  }

  post(text) {
    const clean = text.normalize("NFC");
    const id = this.line.post(this.id, clean);
    const item = this.#insert({ kind: "message", id, text: clean, mine: true, status: "sending", at: new Date().toISOString(), offline: !this.line.isOpen });
    setTimeout(() => {
      if (item.status !== "sending") return;
      item.late = true;
      this.changed("message", item);
    }, CHECKING_MS);
    this.changed("message", item);
    return id;
  }

  add(item) {
    if (item.key && this.#byKey.has(item.key)) {
      const old = this.#byKey.get(item.key);
      Object.assign(old, item);
      this.changed("message", old);
      return old;
    }
    const added = this.#insert(item);
    this.changed("message", added);
    return added;
  }

  remove(item) {
    const at = this.items.indexOf(item);
    if (at >= 0) this.items.splice(at, 1);
    this.#byKey.delete(item.key);
    if (item.message && this.#byMessage.get(item.message) === item) this.#byMessage.delete(item.message);
    if (item.id && this.#byId.get(item.id) === item) this.#byId.delete(item.id);
    this.changed("message", item);
  }

  /** Draw the events of one type anew: what a page knows beside them has changed. */
  redraw(type) {
    for (const item of this.items) if (item.frame?.type === type) this.changed("message", item);
  }

  find({ message, id }) {
    return (message && this.#byMessage.get(message)) || (id && this.#byId.get(id)) || null;
  }

  changed(what, item = null) {
    this.emit("changed", what, item);
  }

  // -------------------------------------------------------------------------- frames (Threads calls these)

  took(frame) {
    switch (frame.type) {
      case "message": return this.#message(frame);
      case "ack": return this.#ack(frame);
      case "own": return this.#own(frame);
      case "decided": return this.#decided(frame);
      case "typing": return this.#typing(frame);
      case "presence":
        if (!frame.online && this.typing?.alias === frame.from.alias) this.#stopTyping();
        if (!this.partner || frame.from.alias === this.partner.alias) this.present = frame.online;
        return this.changed("presence");
      case "joined":
        if (!this.members.some((who) => who.alias === frame.member.alias)) this.members = [...this.members, frame.member];
        this.#event(frame);
        return this.changed("members");
      case "left":
        this.members = this.members.filter((who) => who.alias !== frame.member.alias);
        if (this.typing?.alias === frame.member.alias) this.#stopTyping();
        this.#event(frame);
        return this.changed("members");
      case "paused":
      case "resumed":
      case "ended":
        this.state = { paused: "paused", resumed: "open", ended: "ended" }[frame.type];
        this.why = frame.why;
        if (frame.type !== "resumed" && this.typing) this.#stopTyping();
        for (const item of this.items) {
          if (item.frame?.type !== "paused" || item.over) continue;
          item.over = true; // its words and buttons are about then, not now
          this.changed("message", item);
        }
        this.#event(frame);
        if (frame.type === "ended") this.redraw("left");
        return this.changed("state");
      case "help":
        if (this.help === frame.state) return undefined;
        this.help = frame.state;
        this.#event(frame, "help"); // one entry, which says what is true now
        return this.changed("help");
      case "support":
        return this.#support(frame);
      default:
        return undefined;
    }
  }

  /** Somebody asked for another look at a message of theirs: it is held again. */
  heldAgain(item) {
    Object.assign(item, { status: "held", reason: "second_look", marks: [] });
    this.changed("message", item);
  }

  refused({ id, code, detail }) {
    const item = this.#byId.get(id);
    if (!item || item.status !== "sending") return;
    Object.assign(item, { status: "refused", reason: code, detail });
    this.changed("message", item);
  }

  reachable(isOpen) {
    for (const item of this.items) {
      if (item.status !== "sending" || item.offline === !isOpen) continue;
      item.offline = !isOpen;
      this.changed("message", item);
    }
  }

  #message(frame) {
    let item = this.#byMessage.get(frame.message);
    const from = frame.from;
    const facts = { seq: frame.seq, at: frame.at, text: frame.text, from, mine: frame.own === true, status: "delivered", message: frame.message };
    if (item) {
      const looked = item.looked;
      Object.assign(item, facts, { looked, mine: item.mine || facts.mine });
    } else {
      item = this.#insert({ kind: "message", ...facts });
      item.replay = frame.replay === true;
    }
    this.#count(frame.seq);
    if (this.typing && !item.mine && this.typing.alias === from.alias) this.#stopTyping();
    this.changed("message", item);
  }

  #ack(frame) {
    const twin = this.#byMessage.get(frame.message);
    let item = this.#byId.get(frame.id);
    if (!item && !twin) return; // sent by an earlier page: history or `own` shows it
    if (item && twin && twin !== item) {
      Object.assign(item, { at: twin.at });
      this.remove(twin);
    }
    item ??= twin;
    item.message = frame.message;
    this.#byMessage.set(frame.message, item);
    const known = item.status !== "sending" && item.status !== "refused";
    if (!known || frame.status === "delivered") this.#settle(item, frame);
    if (frame.support?.length) this.#support({ services: frame.support });
    this.changed("message", item);
  }

  #own(frame) {
    let item = this.find(frame);
    item ??= this.#insert({ kind: "message", mine: true, id: frame.id, text: frame.text });
    item.id = frame.id;
    item.message = frame.message;
    item.text = frame.text;
    this.#byMessage.set(frame.message, item);
    this.#byId.set(frame.id, item);
    if (item.status !== "delivered") this.#settle(item, frame);
    this.changed("message", item);
  }

  #decided(frame) {
    const item = this.#byMessage.get(frame.message);
    if (frame.status === "delivered") {
      if (item) {
        item.looked = item.status === "held" && item.reason !== "paused";
        item.at = new Date().toISOString();
        this.#settle(item, frame);
      } else {
        this.ask(frame.seq - 1); // written on an earlier page: it comes with history
      }
    } else if (item && item.status !== "delivered") {
      item.status = frame.status;
      item.reason = frame.reason ?? item.reason;
    }
    if (item) this.changed("message", item);
  }

  #settle(item, frame) {
    item.status = frame.status;
    item.reason = frame.reason ?? null;
    item.marks = frame.marks ?? item.marks ?? [];
    item.late = false;
    item.offline = false;
    if (frame.seq !== undefined && frame.status === "delivered") {
      item.seq = frame.seq;
      this.#count(frame.seq);
    } else {
      item.anchor = Math.max(item.anchor ?? 0, this.lastSeq);
    }
  }

  // One card is enough, and it stays near what was written last: a later one takes the place of the earlier.
  #support(frame) {
    const old = this.items.findLast((item) => item.frame?.type === "support");
    const since = old ? this.items.filter((item) => item.order > old.order).length : 0;
    const moved = old && frame.text && (since >= 3 || (since > 0 && frame.text !== old.frame.text));
    if (moved) this.remove(old);
    if (!old || moved) {
      this.#event({ type: "support", conversation: this.id, text: frame.text ?? "", services: frame.services });
    } else if (frame.text) {
      old.frame = { ...old.frame, text: frame.text, services: frame.services };
      this.changed("message", old);
    }
  }

  #typing(frame) {
    this.typing = frame.from;
    clearTimeout(this.#typingTimer);
    this.#typingTimer = setTimeout(() => this.#stopTyping(), TYPING_MS);
    this.changed("typing");
  }

  #stopTyping() {
    clearTimeout(this.#typingTimer);
    this.typing = null;
    this.changed("typing");
  }

  #event(frame, key = undefined) {
    const old = key && this.#byKey.get(key);
    if (old) this.remove(old);
    const item = this.#insert({ kind: "event", key, frame, at: new Date().toISOString() });
    this.changed("message", item);
  }

  #insert(item) {
    orders += 1;
    item.order = orders;
    item.anchor ??= this.lastSeq;
    item.key ??= `i${orders}`;
    this.items.push(item);
    this.#byKey.set(item.key, item);
    if (item.message) this.#byMessage.set(item.message, item);
    if (item.id) this.#byId.set(item.id, item);
    return item;
  }

  // -------------------------------------------------------------------------- completeness

  #count(seq) {
    if (seq > this.cursor) this.#seen.add(seq);
    this.#advance();
    if (this.#seen.size) this.ask();
  }

  #advance() {
    while (this.#seen.delete(this.cursor + 1)) this.cursor += 1;
    for (const seq of this.#seen) if (seq <= this.cursor) this.#seen.delete(seq);
  }

  /** Ask for what is missing, page by page; one asking at a time. */
  async ask(after = this.cursor) {
    if (this.loading) return;
    this.loading = true;
    this.changed("loading");
    try {
      for (let from = Math.min(after, this.cursor); ; ) {
        const end = await this.line.request({ type: "history", conversation: this.id, after: from, limit: PAGE }, { keep: false });
        if (end.reset && from > 0) {
          this.#startOver();
          from = 0;
          continue;
        }
        if (!end.more) {
          this.cursor = Math.max(this.cursor, end.last_seq);
          this.#advance();
          break;
        }
        const next = Math.max(this.cursor, ...this.#seen);
        if (next <= from) break; // a page that brought nothing: the next heartbeat asks again
        this.cursor = next;
        this.#advance();
        from = next;
      }
    } catch {
      // the line was lost, or it is not ours any more: `welcome` asks again
    } finally {
      this.loading = false;
      this.changed("loading");
    }
  }

  #startOver() {
    for (const item of this.items.filter((other) => other.seq !== undefined)) this.remove(item);
    this.#seen.clear();
    this.cursor = 0;
    this.newest = 0;
  }
}

export class Threads extends Emitter {
  all = new Map();
  #strangers = new Map();

  constructor(line) {
    super();
    this.line = line;
    for (const type of ["message", "ack", "own", "decided", "typing", "presence", "joined", "left", "paused", "resumed", "ended", "help", "support"]) {
      line.on(type, (frame) => this.#pass(frame));
    }
    line.on("refused", (refusal) => this.all.get(refusal.conversation)?.refused(refusal));
    line.on("state", ({ state }) => {
      for (const thread of this.all.values()) thread.reachable(state === "open");
    });
    line.on("paired", (frame) => {
      const thread = this.open(frame.conversation, { partner: frame.partner, state: "open", notice: frame.notice, members: [frame.partner] });
      thread.present = true;
      this.emit("opened", thread, frame);
    });
    line.on("welcome", (frame) => this.#welcome(frame));
    line.on("heartbeat", (frame) => this.#heartbeat(frame));
  }

  get(id) {
    return this.all.get(id);
  }

  open(id, { partner = null, state = "open", why = null, members = [], notice = "", last_seq: last = 0 } = {}) {
    let thread = this.all.get(id);
    if (!thread) {
      thread = new Thread(id, this.line);
      thread.on("changed", (what, item) => this.emit("changed", thread, what, item));
      this.all.set(id, thread);
    }
    if (partner) thread.partner = { ...thread.partner, ...partner };
    if (notice) thread.notice = notice;
    thread.newest = Math.max(thread.newest, last);
    // What happened while the line was down is said as well: nobody joins, and nothing stops, in silence.
    for (const who of members) {
      const known = thread.members.some((other) => other.alias === who.alias);
      if (!known && who.role !== "pupil" && who.role !== "mentor" && who.alias !== meta("alias")) thread.took({ type: "joined", conversation: id, member: who });
    }
    if (members.length) thread.members = members;
    const now = state === "active" ? "open" : state;
    if (now === "paused" && thread.state === "open") thread.took({ type: "paused", conversation: id, why });
    else if (now === "open" && thread.state === "paused") thread.took({ type: "resumed", conversation: id, why });
    thread.state = now;
    thread.why = why;
    if (last > thread.cursor) thread.ask();
    return thread;
  }

  forget(id) {
    this.all.delete(id);
  }

  #pass(frame) {
    const thread = this.all.get(frame.conversation);
    if (!thread) {
      if (frame.type === "help" && frame.conversation === null) this.emit("help", frame);
      return;
    }
    thread.took(frame);
    if (frame.type === "ended") this.emit("ended", thread, frame);
  }

  #welcome(frame) {
    const here = new Set(frame.conversations.map((each) => each.conversation));
    for (const each of frame.conversations) {
      const known = this.all.has(each.conversation);
      const thread = this.open(each.conversation, each);
      if (known) thread.ask();
      else this.emit("opened", thread, frame);
    }
    for (const thread of this.all.values()) {
      if (here.has(thread.id) || thread.state === "ended") continue;
      thread.took({ type: "ended", conversation: thread.id, why: "while_away" }); // it ended while the line was down
      this.emit("ended", thread, frame);
    }
  }

  #heartbeat(frame) {
    for (const [id, last] of Object.entries(frame.conversations ?? {})) {
      const thread = this.all.get(id);
      if (thread) {
        if (last > thread.cursor) thread.ask();
        continue;
      }
      const times = (this.#strangers.get(id) ?? 0) + 1; // a `paired` that never came: `welcome` will say
      this.#strangers.set(id, times);
      if (times === 2) this.line.restart();
    }
  }
}

// ---------------------------------------------------------------------------- drawing

const RUN_MS = 3_600_000;
const NEAR_PX = 48;

export class ThreadView {
  #nodes = new Map(); // item key -> {node, after, sign}
  #days = new Map();
  #off = [];
  #writing = null;
  #queued = false;
  #dead = false;

  constructor(thread, { log, scroller = log, line, after = () => null, event = () => null, names = null, fresh = null, top = null }) {
    Object.assign(this, { thread, log, scroller, line, after, event, names, fresh });
    this.unseen = 0;
    this.#off.push(thread.on("changed", (what, item) => this.#changed(what, item)));
    const scrolled = () => {
      if (this.atEnd) this.#caughtUp();
    };
    scroller.addEventListener("scroll", scrolled, { passive: true });
    this.#off.push(() => scroller.removeEventListener("scroll", scrolled));
    if (fresh) {
      fresh.hidden = true;
      fresh.onclick = () => this.toEnd();
    }
    if (typeof ResizeObserver === "function") {
      let stuck = true; // the keyboard of a phone opens: stay at the end if we were there
      const watch = new ResizeObserver(() => {
        if (stuck) this.toEnd();
      });
      watch.observe(scroller);
      const keep = () => {
        stuck = this.atEnd;
      };
      scroller.addEventListener("scroll", keep, { passive: true });
      this.#off.push(() => {
        watch.disconnect();
        scroller.removeEventListener("scroll", keep);
      });
    }
    if (top) log.append(top);
    this.top = top;
    this.draw();
    this.toEnd();
  }

  get atEnd() {
    return this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < NEAR_PX;
  }

  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.#caughtUp();
  }

  destroy() {
    this.#dead = true;
    for (const off of this.#off) off();
    this.log.replaceChildren();
  }

  #caughtUp() {
    this.unseen = 0;
    if (this.fresh) this.fresh.hidden = true;
  }

  #changed(what, item) {
    if (item) {
      const drawn = this.#nodes.get(item.key);
      if (drawn) drawn.sign = null;
      else if (what === "message" && item.kind === "message" && !item.mine && !item.replay) this.unseen += 1;
    }
    if (this.#queued) return;
    this.#queued = true;
    queueMicrotask(() => {
      this.#queued = false;
      if (!this.#dead) this.draw();
    });
  }

  draw() {
    const stay = this.atEnd;
    const mineLast = this.thread.items.at(-1)?.mine === true;
    this.log.setAttribute("aria-busy", String(this.thread.loading));
    const sorted = [...this.thread.items].sort(inOrder);
    const wanted = this.top ? [this.top] : [];
    const messages = sorted.filter((item) => item.kind === "message");
    const several = this.names ?? new Set(messages.filter((item) => !item.mine && item.from).map((item) => item.from.alias)).size > 1;
    let last = null; // the message before
    let timed = null; // the last moment that is known
    for (let index = 0; index < sorted.length; index += 1) {
      const item = sorted[index];
      if (item.kind === "message") {
        const next = sorted[index + 1];
        if (item.at && (!timed || Date.parse(item.at) - Date.parse(timed) > RUN_MS || !sameDay(item.at, timed))) wanted.push(this.#day(item, dayClock(item.at)));
        timed = item.at ?? timed;
        const named = several && !item.mine && (!last || last.mine || last.from?.alias !== item.from?.alias || sorted[index - 1] !== last);
        const ends = !(next && next.kind === "message" && next.mine && next.status === "delivered" && item.status === "delivered" && !item.looked);
        const again = item.status === "held" && last?.mine && last.status === "held" && last.reason === item.reason;
        wanted.push(...this.#message(item, { named, ends, again }));
        last = item;
      } else {
        wanted.push(...this.#other(item));
      }
    }
    const alive = new Set(this.thread.items.map((item) => item.key));
    for (const key of this.#nodes.keys()) if (!alive.has(key)) this.#nodes.delete(key);
    let at = this.log.firstChild;
    const keep = new Set(wanted);
    for (const node of wanted) {
      while (at && !keep.has(at)) {
        const gone = at;
        at = at.nextSibling;
        gone.remove();
      }
      if (node === at) at = at.nextSibling;
      else this.log.insertBefore(node, at);
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
    this.#drawTyping();
    if (stay || mineLast) this.toEnd();
    else if (this.unseen && this.fresh) this.fresh.hidden = false;
  }

  #day(item, words) {
    let node = this.#days.get(item.key);
    if (!node) {
      node = el("p", { class: "day" });
      this.#days.set(item.key, node);
    }
    if (node.textContent !== words) node.textContent = words;
    return node;
  }

  #message(item, { named, ends, again }) {
    const sign = [item.status, item.text, item.reason, item.late, item.offline, item.looked, item.seq, item.marks?.length, named, ends, again].join("\u0000");
    const drawn = this.#nodes.get(item.key) ?? { node: el("div"), after: null, sign: null };
    if (drawn.sign !== sign) {
      this.#nodes.set(item.key, drawn);
      drawn.sign = sign;
      let after = item.mine ? this.after(item, this.thread) : null;
      if (again && after && !after.querySelector("button")) after = null; // the same words stand just above
      if (after) after.id = `why-${item.key}`;
      drawn.after = after;
      fill(drawn.node, item, { named, ends, after });
    }
    return drawn.after ? [drawn.node, drawn.after] : [drawn.node];
  }

  #other(item) {
    let drawn = this.#nodes.get(item.key);
    if (!drawn || drawn.sign === null) {
      drawn = { node: this.event(item, this.thread), after: null, sign: "drawn" };
      this.#nodes.set(item.key, drawn);
    }
    return drawn.node ? [drawn.node] : [];
  }

  // Beside the log, not in it: nobody needs to hear each time that somebody is writing.
  #drawTyping() {
    const who = this.thread.typing;
    if (!who) {
      this.#writing?.remove();
      this.#writing = null;
      return;
    }
    this.#writing ??= el("div", { class: `msg typing msg--${who.role === "adult" ? "adult" : "theirs"}` },
      el("p", { class: "bubble" }, el("span", { class: "breath", "aria-hidden": "true" }, el("i"), el("i"), el("i")), el("span", { class: "sr", text: `${who.alias} is writing` })));
    if (this.#writing.previousSibling !== this.log) this.log.after(this.#writing);
  }
}

function inOrder(a, b) {
  const at = (item) => (item.status === "sending" ? Infinity : item.seq ?? item.anchor ?? 0);
  const [left, right] = [at(a), at(b)];
  if (left !== right) return left - right;
  const free = (item) => (item.seq === undefined ? 1 : 0);
  return free(a) - free(b) || a.order - b.order;
}

const sameDay = (a, b) => new Date(a).toDateString() === new Date(b).toDateString();

const KIND = { held: " msg--held", blocked: " msg--blocked", withheld: " msg--blocked", refused: " msg--blocked" };

function fill(node, item, { named, ends, after }) {
  const adult = !item.mine && item.from && item.from.role !== "mentor" && item.from.role !== "pupil";
  node.className = `msg msg--${item.mine ? "mine" : adult ? "adult" : "theirs"}${item.mine ? KIND[item.status] ?? "" : ""}`;
  node.dataset.status = item.status;
  node.dataset.key = item.key;
  if (item.message) node.dataset.message = item.message;
  if (item.seq !== undefined) node.dataset.seq = item.seq;
  if (after) {
    node.setAttribute("role", "group");
    node.setAttribute("aria-describedby", after.id);
  } else {
    node.removeAttribute("role");
    node.removeAttribute("aria-describedby");
  }
  const who = item.mine ? "You" : item.from?.alias ?? "";
  const name = named
    ? el("span", { class: adult ? "meta meta--adult" : "meta" }, adult ? icon("adult") : null, adult ? `${who}, adult at school` : who)
    : el("span", { class: "sr", text: `${who}: ` });
  node.replaceChildren(name, el("p", { class: "bubble", dir: "auto" }, marked(item)), ...state(item, ends));
}

export function marked(item) {
  const marks = [...(item.marks ?? [])].sort((a, b) => a.start - b.start);
  if (!marks.length || item.status === "delivered") return [item.text];
  const points = [...item.text];
  const parts = [];
  let at = 0;
  for (const { start, end } of marks) {
    const from = Math.max(at, start);
    if (end <= from || from >= points.length) continue;
    parts.push(points.slice(at, from).join(""), el("mark", { text: points.slice(from, end).join("") }));
    at = end;
  }
  parts.push(points.slice(at).join(""));
  return parts.filter((part) => part !== "");
}

function state(item, ends) {
  if (!item.mine) return [];
  const meta = (name, text, more = "") => [el("span", { class: `meta${more}` }, icon(name), text)];
  switch (item.status) {
    case "delivered":
      return ends ? meta("tick", `Sent ${clock(item.at)}${item.looked ? ", after an adult looked" : ""}`) : [];
    case "held":
      if (item.reason === "paused") return meta("pause", "Kept safe until we start again", " meta--held");
      return meta("eye", item.reason === "second_look" ? "An adult will look again" : "An adult is looking at this first", " meta--held");
    case "blocked":
    case "withheld":
    case "refused":
      return meta("stop", "Not sent", " meta--blocked");
    default:
      if (item.offline) return meta("offline", "Not sent yet. We’ll keep trying");
      return item.late ? meta("clock", "Checking. This takes a second or two.") : [];
  }
}

// ---------------------------------------------------------------------------- writing

export class Composer {
  #changing = null;
  #lastTyping = 0;
  #draft = "";

  constructor({ box, button, send, typing = () => {}, problem = () => {}, changing = null }) {
    Object.assign(this, { box, button, send, typing, problem, changing });
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#changing) {
        event.preventDefault();
        this.stopChanging();
        return;
      }
      if (event.key !== "Enter" || event.isComposing || event.keyCode === 229) return;
      if (event.shiftKey || (touch() && !event.ctrlKey && !event.metaKey)) return; // a new line
      event.preventDefault();
      this.go();
    });
    box.addEventListener("input", () => {
      this.problem("");
      this.#grow();
      const now = Date.now();
      if (!box.value.trim() || now - this.#lastTyping < TYPING_EVERY_MS) return;
      this.#lastTyping = now;
      this.typing();
    });
    button.addEventListener("pointerdown", (event) => event.preventDefault()); // the phone's keyboard stays open
    button.addEventListener("click", () => this.go());
    if (changing) changing.querySelector("button")?.addEventListener("click", () => this.stopChanging());
    this.#grow();
  }

  get value() {
    return this.box.value;
  }

  go() {
    const text = this.box.value.trim();
    if (!text) {
      this.box.focus();
      return;
    }
    const length = [...text.normalize("NFC")].length;
    if (length > MAX_TEXT) {
      this.problem(`That’s too long for one message: ${length.toLocaleString("en-GB")} characters, and ${MAX_TEXT.toLocaleString("en-GB")} fit. Send it in two.`);
      this.box.focus();
      return;
    }
    const before = this.#changing;
    if (this.send(text) === false) return;
    this.box.value = "";
    this.#lastTyping = 0;
    if (before) {
      this.#changing = null;
      if (this.changing) this.changing.hidden = true;
      before.done?.();
      this.box.value = this.#draft;
      this.#draft = "";
    }
    this.#grow();
    this.box.focus();
  }

  put(text) {
    const { box } = this;
    const gap = box.value && !/\s$/.test(box.value.slice(0, box.selectionStart)) ? " " : "";
    box.setRangeText(gap + text, box.selectionStart, box.selectionEnd, "end");
    box.focus();
    this.#grow();
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }

  /** Put an earlier text in the box to change it; `done` is called once the new one is sent. */
  change(text, done = null) {
    if (!this.#changing) this.#draft = this.box.value;
    this.#changing = { done };
    this.box.value = text;
    if (this.changing) this.changing.hidden = false;
    this.#grow();
    this.box.focus();
    this.box.setSelectionRange(text.length, text.length);
  }

  stopChanging() {
    this.#changing = null;
    this.box.value = this.#draft;
    this.#draft = "";
    if (this.changing) this.changing.hidden = true;
    this.#grow();
    this.box.focus();
  }

  clear() {
    this.box.value = "";
    this.#changing = null;
    this.#draft = "";
    if (this.changing) this.changing.hidden = true;
    this.#grow();
  }

  // Where `field-sizing: content` is not known yet, rows do the same.
  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.box.rows = Math.min(6, Math.max(1, this.box.value.split("\n").length, Math.ceil(this.box.value.length / 38)));
  }
}
