// Building blocks of every page: elements, icons, announcements, dialogs, the JSON API, words for times.
//
//   $(selector, root)            the first match, or null
//   el("p", {class, text, hidden, onclick, dataset, "aria-label": …}, ...children)
//                                an element; children are nodes, strings, or nothing; never HTML text
//   icon("door"), icon("bell", "icon--l")
//   meta("csrf")                 what the server wrote in <meta>
//   api("POST", "/api/…", body)  JSON in, JSON out, with the CSRF token; throws ApiError {status, title, detail,
//                                errors, retryAfter}; status 0: could not be reached
//   say(text)                    tells a screen reader, politely; shows nothing
//   toast(text, {icon, label, run})  confirms what somebody just did, for 8 s; never news that matters
//   notice({tone, icon, title, text, role, children})  the coloured box; tone "", warn, danger, held, adult, plain
//   openDialog(dialog)           shows a <dialog>, focuses its heading, gives focus back; resolves to returnValue
//   show(view)                   of the [data-view] sections shows one, and focuses its heading; where a view has a
//                                [data-h1="words"] slot, the page's one h1 moves there
//   serviceList(services)        <ul class="services"> with tel: and sms: links, 999 last and marked
//   busy(button, promise)        aria-busy while it runs; a second press waits
//   switches(root)               wires [data-look="read:easy"] and [data-look="theme:dark"] checkboxes
//   clock(date) "3.46 pm"; dayClock(date) "Today, 3.46 pm"; aboutMinutes(seconds) "about 4 minutes"
//   place(n) "second"; uid()     a random id of 24 letters and digits; touch()  true where a finger is the pointer
//   tone()                       one soft tone (after a press somewhere on the page; else silent)

const SVG = "http://www.w3.org/2000/svg";

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
export const meta = (name) => $(`meta[name="${name}"]`)?.content ?? "";

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function icon(name, more = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon ${more}`.trim());
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

// ---------------------------------------------------------------------------- the server

export class ApiError extends Error {
  constructor({ status, title = "", detail = "", errors = [], retryAfter = null }) {
    super(detail || title || `status ${status}`);
    Object.assign(this, { status, title, detail, errors, retryAfter });
  }
}

export async function api(method, path, body = undefined, { signal, keepalive = false } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-CSRF-Token"] = meta("csrf");
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal,
      keepalive,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ status: 0, title: "We can’t reach the server just now." });
  }
  const text = await response.text().catch(() => "");
  let data = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    data = null; // an answer that is not ours, for instance a filter's block page
  }
  if (response.ok) return data;
  const wait = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  throw new ApiError({
    status: response.status,
    title: data?.title ?? "",
    detail: data?.detail ?? "",
    errors: data?.errors ?? [],
    retryAfter: Number.isFinite(wait) ? wait : null,
  });
}

// ---------------------------------------------------------------------------- telling people

let saying = 0;
export function say(text) {
  const status = $("#status");
  if (!status) return;
  status.textContent = "";
  clearTimeout(saying);
  saying = setTimeout(() => {
    status.textContent = text;
  }, 60);
}

const TOAST_MS = 8000;
export function toast(text, { icon: name = "tick", label = "", run = null } = {}) {
  const box = $("#toasts");
  if (!box) return null;
  let left = 0;
  const node = el("div", { class: "toast", role: "status" }, name ? icon(name) : null, el("span", { text }));
  const stop = () => clearTimeout(left);
  const start = () => {
    stop();
    left = setTimeout(() => node.remove(), TOAST_MS);
  };
  if (label) {
    node.append(el("button", { type: "button", text: label, onclick: () => {
      node.remove();
      run?.();
    } }));
  }
  for (const event of ["mouseenter", "focusin"]) node.addEventListener(event, stop);
  for (const event of ["mouseleave", "focusout"]) node.addEventListener(event, start);
  box.replaceChildren(); // one at a time
  box.append(node);
  start();
  return node;
}

export function notice({ tone = "", icon: name = "info", title = "", text = "", role = null, level = 3, children = [], more = "" }) {
  const body = title || children.length
    ? el("div", { class: "grow" }, title ? el(`h${level}`, { text: title }) : null, text ? el("p", { text }) : null, ...children)
    : el("p", { text });
  return el("div", { class: `notice ${tone ? `notice--${tone}` : ""} ${more}`.replace(/\s+/g, " ").trim(), role }, icon(name), body);
}

export function openDialog(dialog) {
  const before = document.activeElement;
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
      resolve(dialog.returnValue);
    }, { once: true });
    dialog.showModal();
    const heading = $("h1, h2, h3", dialog);
    if (heading) {
      heading.tabIndex = -1;
      heading.focus();
    }
  });
}

export function show(name, { focus = true, root = document } = {}) {
  for (const view of $$("[data-view]", root)) view.hidden = view.dataset.view !== name;
  const view = $(`[data-view="${name}"]`, root);
  const slot = view && $("[data-h1]", view);
  const h1 = $("h1", root);
  if (slot && h1) {
    h1.textContent = slot.dataset.h1;
    slot.append(h1);
  }
  const heading = view && $("h1", view);
  if (focus && heading) {
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  }
  return view;
}

export async function busy(button, work) {
  if (button.getAttribute("aria-busy") === "true") return undefined;
  button.setAttribute("aria-busy", "true");
  try {
    return await (typeof work === "function" ? work() : work);
  } finally {
    button.removeAttribute("aria-busy");
  }
}

export function switches(root = document) {
  for (const input of $$("[data-look]", root)) {
    const [name, value] = input.dataset.look.split(":");
    input.checked = window.look.get(name) === value;
    input.addEventListener("change", () => {
      window.look.set(name, input.checked ? value : null);
      for (const other of $$(`[data-look^="${name}:"]`)) other.checked = window.look.get(name) === other.dataset.look.split(":")[1];
    });
  }
}

// ---------------------------------------------------------------------------- places to turn

const EMERGENCY = "999";

// A service is {name, phone, url, hours, text}: `text` is the word to text to `phone`, where it is a texting service.
export function serviceList(services, { level = "b" } = {}) {
  const rank = (service) => (isEmergency(service) ? 1 : 0);
  const sorted = [...services].sort((a, b) => rank(a) - rank(b)); // 999 last; the site's own order else
  return el("ul", { class: "services" }, sorted.map((service) => serviceRow(service, level)));
}

export const isEmergency = (service) => (service.phone ?? "").replace(/\D/g, "") === EMERGENCY;

function serviceRow(service, level) {
  const emergency = isEmergency(service);
  const phone = (service.phone ?? "").trim();
  const digits = phone.replace(/[^\d+]/g, "");
  const word = (service.text ?? "").trim();
  const texting = word && /^\d{4,6}$/.test(digits);
  const name = emergency ? "In danger right now" : service.name;
  let small = [texting && !/^text\b/i.test(word) ? `Text ${word}` : word, service.hours].filter(Boolean);
  small = small.map((part, n) => (n && /^[A-Z][a-z]/.test(part) ? part[0].toLowerCase() + part.slice(1) : part)).join(", ");
  const row = el("li", {}, el("span", { class: "grow" }, el(level, { text: name }), emergency || small ? el("small", { text: emergency ? "You or someone else" : small }) : null));
  if (phone && texting) {
    const body = /^[A-Z0-9]+$/.test(word) ? `?&body=${word}` : "";
    row.append(el("a", { class: "btn btn--slim", href: `sms:${digits}${body}`, "aria-label": `Text ${name}: ${phone}` }, icon("chat"), phone));
  } else if (phone) {
    row.append(el("a", { class: `btn btn--slim${emergency ? " btn--alarm" : ""}`, href: `tel:${digits}`, "aria-label": emergency ? "Call 999, in danger right now" : `Call ${name}: ${phone}` }, icon("phone"), phone));
  } else if (/^https:\/\//.test(service.url ?? "")) {
    row.append(el("a", { class: "btn btn--slim", href: service.url, rel: "noreferrer noopener", target: "_blank", "aria-label": `${name}, opens a new tab` }, icon("chat"), "Open"));
  }
  return row;
}

// ---------------------------------------------------------------------------- words

const time = new Intl.DateTimeFormat("en-GB", { hour: "numeric", minute: "2-digit", hour12: true });
const weekday = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" });

export function clock(at) {
  const parts = Object.fromEntries(time.formatToParts(new Date(at)).map((part) => [part.type, part.value]));
  return `${parts.hour === "0" ? "12" : parts.hour}.${parts.minute}\u00a0${(parts.dayPeriod ?? "").toLowerCase().replace(/\./g, "")}`;
}

export function dayClock(at, now = new Date()) {
  const date = new Date(at);
  const days = Math.round((new Date(now).setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 86_400_000);
  const day = days === 0 ? "Today" : days === 1 ? "Yesterday" : weekday.format(date);
  return `${day}, ${clock(date)}`;
}

export function aboutMinutes(seconds) {
  const minutes = Math.round(seconds / 60);
  if (minutes < 1) return "less than a minute";
  return minutes === 1 ? "about 1 minute" : `about ${minutes} minutes`;
}

const PLACES = ["", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
export const place = (n) => PLACES[n] ?? `number ${n}`;

export function uid(length = 24) {
  const letters = "abcdefghijkmnopqrstuvwxyz23456789";
  return [...crypto.getRandomValues(new Uint8Array(length))].map((byte) => letters[byte % letters.length]).join("");
}

export const touch = () => matchMedia("(hover: none) and (pointer: coarse)").matches;

let sound = null;
export function tone({ frequency = 392, seconds = 0.6, volume = 0.06 } = {}) {
  try {
    sound ??= new AudioContext();
    if (sound.state === "suspended") sound.resume();
    const at = sound.currentTime;
    const voice = sound.createOscillator();
    const level = sound.createGain();
    voice.type = "sine";
    voice.frequency.value = frequency;
    level.gain.setValueAtTime(0, at);
    level.gain.linearRampToValueAtTime(volume, at + 0.05);
    level.gain.exponentialRampToValueAtTime(0.0001, at + seconds);
    voice.connect(level).connect(sound.destination);
    voice.start(at);
    voice.stop(at + seconds);
    return sound.state === "running";
  } catch {
    return false; // no sound here: the words on the page say the same
  }
}
