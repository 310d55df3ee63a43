// The line to the server: frames both ways, over a websocket or, where a network refuses those, by long polling.
//
//   const line = new Line();
//   line.on("welcome", (frame) => …)      any frame type of the protocol; "*" hears all of them
//   line.on("state", ({state, via}) => …) "connecting", "open", "waiting" (it will try again), "away" (it will not)
//   line.on("away", ({code, text}) => …)  why it stays away, in words (4100 to 4103)
//   line.on("refused", ({id, conversation, code, detail}) => …)  a message the server would not take
//   line.open();
//   await line.request({type: "flag", …}) resolves to the frame that answers it, and rejects with a LineError
//                                         {code, detail, retryAfter}. It is kept until answered: after a lost
//                                         connection it is sent again. {keep: false}: rejects with code "lost".
//   line.tell({type: "typing", …})        said once, if the line is open; no answer
//   const id = line.post(conversation, text)  one message; sent again with the same id until acked or refused
//   line.restart(); line.close();
//   line.heard                            time of the last frame; line.via "socket" or "poll"; line.isOpen
//
// What it promises: frames arrive in the server's order; nothing posted is dropped or renamed; after `welcome`,
// kept requests go first (an emergency flag never waits behind anything), then unacked messages in their order.
// What is complete and in order on the page is thread.js's part.

import { uid } from "./dom.js";

const PROTOCOL = "peerchat.v1";
const WELCOME_MS = 6000;
const REFUSALS = 2; // websockets refused this often, on a network that carries our pages, and we poll
const BACKOFF_MS = [400, 1000, 2000, 3000, 5000, 8000, 10_000];
const RETRY = new Set(["rate_limited", "unavailable"]);
const REMEMBER = "line";

export const AWAY = {
  4100: "You’re signed out.",
  4101: "You can’t use this just now. Ask the adult who gave you your card or sign-in.",
  4102: "This was opened somewhere else, so it has stopped here.",
  4103: "Something went wrong between this page and us. Load the page again to go on.",
};

export class LineError extends Error {
  constructor({ code, detail = "", retryAfter = null }) {
    super(detail || code);
    Object.assign(this, { code, detail, retryAfter });
  }
}

export class Line {
  #handlers = new Map();
  #wire = null;
  #state = "closed";
  #attempt = 0;
  #refusals = 0;
  #timers = { retry: 0, welcome: 0, pulse: 0, check: 0, outbox: 0 };
  #requests = new Map(); // ref -> {frame, keep, sent, resolve, reject}
  #outbox = new Map(); // client id -> {frame, sent}
  #heartbeat = 20;
  #said = 0;
  heard = 0;
  via = "socket";

  constructor({ socket = "/ws", frames = "/api/frames", probe = "/api/site" } = {}) {
    this.paths = { socket, frames, probe };
    if (remembered()) this.via = "poll";
    addEventListener("online", () => this.#nudge());
    addEventListener("offline", () => this.#drop(1006));
    addEventListener("pageshow", () => this.#nudge());
    addEventListener("leaving", () => this.close());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#nudge();
    });
  }

  get isOpen() {
    return this.#state === "open";
  }

  get state() {
    return this.#state;
  }

  on(type, handler) {
    if (!this.#handlers.has(type)) this.#handlers.set(type, new Set());
    this.#handlers.get(type).add(handler);
    return () => this.#handlers.get(type).delete(handler);
  }

  open() {
    if (this.#state === "closed" || this.#state === "away") this.#connect();
  }

  close() {
    this.#become("closed");
    this.#hangUp();
  }

  restart() {
    if (this.#state === "open" || this.#state === "connecting") this.#drop(1000);
  }

  tell(frame) {
    if (this.isOpen) this.#write(frame);
  }

  request(frame, { keep = true } = {}) {
    const ref = frame.ref ?? uid(16);
    return new Promise((resolve, reject) => {
      if (!keep && !this.isOpen) {
        reject(new LineError({ code: "lost", detail: "There is no connection just now." }));
        return;
      }
      const entry = { frame: { ...frame, ref }, keep, sent: false, resolve, reject };
      this.#requests.set(ref, entry);
      if (this.isOpen) this.#ask(entry);
    });
  }

  post(conversation, text, id = uid()) {
    this.#outbox.set(id, { frame: { type: "send", conversation, id, text, ref: id }, sent: false });
    this.#flush();
    return id;
  }

  /** Forget a message that was not acked yet (somebody chose to change it before it went). */
  unpost(id) {
    const entry = this.#outbox.get(id);
    if (!entry || entry.sent) return false;
    return this.#outbox.delete(id);
  }

  // -------------------------------------------------------------------------- connecting

  #become(state, more = {}) {
    if (state === this.#state && state !== "waiting") return;
    this.#state = state;
    this.#emit("state", { state, via: this.via, ...more });
  }

  #connect() {
    clearTimeout(this.#timers.retry);
    this.#hangUp();
    this.#become("connecting");
    const Wire = this.via === "poll" ? PollWire : SocketWire;
    const wire = new Wire(this.via === "poll" ? this.paths.frames : this.paths.socket);
    this.#wire = wire;
    wire.onframe = (frame) => this.#wire === wire && this.#take(frame);
    wire.onclose = (code) => this.#wire === wire && this.#drop(code);
    this.#timers.welcome = setTimeout(() => this.#wire === wire && this.#drop(1006), wire.patience);
    wire.start();
  }

  #hangUp() {
    for (const name of ["welcome", "pulse", "check", "outbox"]) clearTimeout(this.#timers[name]);
    const wire = this.#wire;
    this.#wire = null;
    wire?.close();
    for (const [ref, entry] of this.#requests) {
      entry.sent = false;
      if (!entry.keep) {
        this.#requests.delete(ref);
        entry.reject(new LineError({ code: "lost", detail: "The connection was lost." }));
      }
    }
    for (const entry of this.#outbox.values()) entry.sent = false;
  }

  async #drop(code) {
    if (this.#state === "closed" || this.#state === "away" || this.#state === "waiting") return;
    const greeted = this.#state === "open";
    this.#hangUp();
    if (code >= 4100 && code <= 4199) {
      this.#become("away");
      this.#emit("away", { code, text: AWAY[code] ?? AWAY[4103] });
      return;
    }
    this.#become("waiting");
    if (!greeted && this.via === "socket" && (await reachable(this.paths.probe))) {
      if (this.#state !== "waiting") return;
      this.#refusals += 1;
      if (this.#refusals >= REFUSALS) {
        this.via = "poll"; // our pages come through and websockets do not
        remember();
        this.#attempt = 0;
      }
      this.#timers.retry = setTimeout(() => this.#connect(), 200 + Math.random() * 300);
      return;
    }
    if (this.#state !== "waiting") return;
    const wait = BACKOFF_MS[Math.min(this.#attempt, BACKOFF_MS.length - 1)];
    this.#attempt += 1;
    clearTimeout(this.#timers.retry);
    this.#timers.retry = setTimeout(() => this.#connect(), wait * (0.5 + Math.random()));
  }

  #nudge() {
    if (this.#state === "waiting") this.#connect();
    else if (this.#state === "open") {
      const before = this.heard;
      this.#write({ type: "ping" });
      clearTimeout(this.#timers.check);
      this.#timers.check = setTimeout(() => {
        if (this.isOpen && this.heard === before) this.#drop(1006);
      }, 5000);
    }
  }

  // -------------------------------------------------------------------------- frames

  #take(frame) {
    if (!frame || typeof frame.type !== "string") return;
    this.heard = Date.now();
    if (frame.type === "welcome") this.#greet(frame);
    else if (frame.type === "heartbeat" && Date.now() - this.#said > this.#heartbeat * 350) this.#write({ type: "ping" });
    const request = frame.ref !== undefined ? this.#requests.get(frame.ref) : undefined;
    const posted = frame.ref !== undefined ? this.#outbox.get(frame.ref) : undefined;
    if (frame.type === "ack") this.#outbox.delete(frame.id);
    if (posted && frame.type === "error") {
      this.#postFailed(frame.ref, posted, frame);
      return;
    }
    if (request && !(request.frame.type === "history" && frame.type !== "history_end" && frame.type !== "error")) {
      this.#requests.delete(frame.ref);
      if (frame.type === "error") {
        request.reject(new LineError({ code: frame.code, detail: frame.detail, retryAfter: frame.retry_after_s }));
        this.#emit("error", frame);
        return;
      }
      this.#emit(frame.type, frame);
      request.resolve(frame);
      return;
    }
    this.#emit(frame.type, frame);
  }

  #greet(frame) {
    clearTimeout(this.#timers.welcome);
    this.#attempt = 0;
    if (this.via === "socket") this.#refusals = 0;
    this.#heartbeat = Number(frame.heartbeat_s) > 0 ? Number(frame.heartbeat_s) : 20;
    this.#become("open");
    for (const entry of this.#requests.values()) this.#ask(entry);
    this.#flush();
    this.#pulse();
  }

  #pulse() {
    clearTimeout(this.#timers.pulse);
    this.#timers.pulse = setTimeout(() => {
      if (!this.isOpen) return;
      if (Date.now() - this.heard > this.#heartbeat * 2500) {
        this.#drop(1006); // silence: nothing at all in two and a half heartbeats
        return;
      }
      this.#write({ type: "ping" });
      this.#pulse();
    }, this.#heartbeat * 500);
  }

  #ask(entry) {
    if (entry.sent) return;
    entry.sent = true;
    this.#write(entry.frame);
  }

  #flush() {
    clearTimeout(this.#timers.outbox);
    if (!this.isOpen) return;
    for (const entry of this.#outbox.values()) {
      if (entry.sent) continue;
      entry.sent = true;
      this.#write(entry.frame);
    }
  }

  #postFailed(id, entry, frame) {
    if (RETRY.has(frame.code)) {
      entry.sent = false;
      clearTimeout(this.#timers.outbox);
      this.#timers.outbox = setTimeout(() => this.#flush(), 1000 * Math.max(0.5, frame.retry_after_s ?? 2));
      return;
    }
    this.#outbox.delete(id);
    this.#emit("refused", { id, conversation: entry.frame.conversation, code: frame.code, detail: frame.detail });
  }

  #write(frame) {
    this.#said = Date.now();
    this.#wire?.send(frame);
  }

  #emit(type, value) {
    const handlers = [...(this.#handlers.get(type) ?? [])];
    if (value && value.type === type) handlers.push(...(this.#handlers.get("*") ?? []));
    for (const handler of handlers) {
      try {
        handler(value);
      } catch (error) {
        reportError(error); // one listener's fault never stops the line
      }
    }
  }
}

// ---------------------------------------------------------------------------- two wires, one shape
// start(), send(frame), close(); onframe(frame), onclose(code); patience: how long to wait for `welcome`

class SocketWire {
  patience = WELCOME_MS;
  onframe = () => {};
  onclose = () => {};
  #socket = null;
  #done = false;

  constructor(path) {
    const url = new URL(path, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.url = url;
  }

  start() {
    let socket;
    try {
      socket = new WebSocket(this.url, PROTOCOL);
    } catch {
      setTimeout(() => this.#end(1006), 0);
      return;
    }
    this.#socket = socket;
    socket.onmessage = (event) => {
      if (this.#done || typeof event.data !== "string") return;
      const frame = parse(event.data);
      if (frame) this.onframe(frame);
    };
    socket.onclose = (event) => this.#end(event.code);
  }

  send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  close() {
    this.#done = true;
    try {
      this.#socket?.close(1000);
    } catch {
      // it was closing by itself
    }
  }

  #end(code) {
    if (this.#done) return;
    this.#done = true;
    this.onclose(code);
  }
}

const POLL_MS = 40_000; // the server answers after 25 s at most
const POST_MS = 20_000;
const BATCH = 20;

class PollWire {
  patience = 15_000;
  onframe = () => {};
  onclose = () => {};
  #id = uid(24);
  #done = false;
  #stop = new AbortController();
  #queue = [];
  #posting = false;

  constructor(path) {
    this.path = path;
  }

  start() {
    this.#listen();
  }

  send(frame) {
    this.#queue.push(frame);
    this.#post();
  }

  close() {
    this.#done = true;
    this.#stop.abort();
  }

  #end(code) {
    if (this.#done) return;
    this.close();
    this.onclose(code);
  }

  async #listen() {
    let after = null;
    while (!this.#done) {
      const at = after === null ? "" : `&after=${after}`;
      const response = await this.#fetch(`${this.path}?line=${this.#id}${at}`, { method: "GET" }, POLL_MS);
      if (this.#done) return;
      if (!(await this.#accepted(response))) return;
      const body = await response.json().catch(() => null);
      if (this.#done) return;
      // A number behind ours is another line of the same name, for instance after a restart of the server.
      if (!body || !Array.isArray(body.items) || (!body.closed && (!Number.isInteger(body.next) || body.next < after))) {
        this.#end(1006);
        return;
      }
      after = body.next;
      for (const frame of body.items) if (!this.#done) this.onframe(frame);
      if (body.closed) this.#end(body.closed);
    }
  }

  async #post() {
    if (this.#posting) return;
    this.#posting = true;
    while (this.#queue.length && !this.#done) {
      const batch = this.#queue.slice(0, BATCH);
      const response = await this.#fetch(`${this.path}?line=${this.#id}`, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-CSRF-Token": document.querySelector('meta[name="csrf"]')?.content ?? "" },
        body: JSON.stringify(batch),
      }, POST_MS);
      if (this.#done || !(await this.#accepted(response))) break;
      this.#queue.splice(0, batch.length);
    }
    this.#posting = false;
  }

  // Anything but a good answer ends this wire: who knows what of it arrived? A new one begins with `welcome`,
  // and what was not acked is said again. "Too many" waits first.
  async #accepted(response) {
    if (response?.ok) return true;
    if (response?.status === 429) await pause(1000 * Math.min(30, Number(response.headers.get("Retry-After")) || 2));
    this.#end(response?.status === 401 || response?.status === 403 ? 4100 : 1006);
    return false;
  }

  async #fetch(path, options, limit) {
    const timeout = new AbortController();
    const stop = () => timeout.abort();
    const timer = setTimeout(stop, limit);
    this.#stop.signal.addEventListener("abort", stop, { once: true });
    try {
      return await fetch(path, { ...options, credentials: "same-origin", cache: "no-store", signal: timeout.signal });
    } catch {
      return null;
    } finally {
      clearTimeout(timer);
      this.#stop.signal.removeEventListener("abort", stop);
    }
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

async function reachable(path) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), 4000);
  try {
    const response = await fetch(path, { cache: "no-store", signal: stop.signal });
    return response.ok;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}

function remembered() {
  try {
    return sessionStorage.getItem(REMEMBER) === "poll";
  } catch {
    return false;
  }
}

function remember() {
  try {
    sessionStorage.setItem(REMEMBER, "poll");
  } catch {
    // then this tab finds out again after its next load
  }
}
