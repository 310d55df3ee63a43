// The moderator's page: a queue without words, one item that is read (a logged claim) and decided.
//
// What it promises: the words of an item come into the page only when somebody asks for them, and leave it when the
// item is decided, given back or lapses. A decision waits five seconds and can be undone; after that it is final.
// Single keys never work inside a field, and R, W and E not in the first 600 ms of an item.

import { $, $$, api, busy, el, meta, openDialog, say, toast } from "./dom.js";
import { Alarm } from "./alarm.js";
import { Line } from "./line.js";
import { Duty, badge, everySecond, hidden, lineState, marked, narrow, parts, problem, reasonList, signOut, transcript, words } from "./staff.js";
import { UNDO_S, Undoable, decide } from "./staff_item.js";
import { REASONS, aboutAll, clock, count, face, heldFor, likelyReason, moment, readAloud, riskBadge, roleWord, secondsSince, secondsUntil, span } from "./staff_words.js";

const GUARD_MS = 600;
const POLL_MS = 20_000;
const CLAIM_S = 600;
const TITLE = `Review – ${meta("service-name")}`;

const line = new Line();
const sound = new Alarm();
const duty = new Duty(line, drawDuty);
const choosePart = parts("list");

let queue = [];
let first = true;
let chosen = null; // id of the item in the middle
let claim = null; // {id, item, text, marks, context, why, …, shownAt}
let waiting = null; // {id, decision, wait: Undoable, item}
let revealed = false;
let away = false;
let paused = new Set(); // conversations this page has paused

document.title = TITLE;

// ---------------------------------------------------------------------------- what somebody prefers

const prefer = (key, fallback) => {
  try {
    return (localStorage.getItem(key) ?? fallback) === "on";
  } catch {
    return fallback === "on";
  }
};
const keep = (key, on) => {
  try {
    localStorage.setItem(key, on ? "on" : "off");
  } catch {
    // then it holds for this page
  }
};
for (const [id, key, fallback] of [["blur", "review-blur", "on"], ["sounds", "review-sounds", "off"], ["keys-on", "review-keys", "on"]]) {
  const input = $(`#${id}`);
  input.checked = prefer(key, fallback);
  input.addEventListener("change", () => {
    keep(key, input.checked);
    if (id === "blur") reveal(!input.checked);
    if (id === "sounds" && input.checked) sound.test();
    if (id === "keys-on") drawKeys();
  });
}

function drawKeys() {
  document.body.classList.toggle("no-keys", !$("#keys-on").checked);
}

// ---------------------------------------------------------------------------- the queue

const open = (item) => item.state !== "decided" && !(waiting && waiting.id === item.id);

async function load() {
  if (first) setTimeout(() => {
    $("#queue-loading").hidden = !first;
  }, 300);
  const asked = Date.now();
  let items;
  try {
    items = (await api("GET", "/api/review?limit=200")).items;
  } catch (error) {
    if (error.status === 401) line.restart(); // the line says so in words
    else problem($("#page-problem"), "The queue couldn’t be loaded. We keep trying.");
    return;
  }
  problem($("#page-problem"), "");
  const before = new Set(queue.map((item) => item.id));
  const fresh = !first && items.some((item) => open(item) && !before.has(item.id));
  first = false;
  $("#queue-loading").hidden = true;
  queue = items;
  if (fresh && $("#sounds").checked) sound.chime();
  drawQueue();
  if (claim && claim.claimedAt < asked && !queue.some((item) => item.id === claim.id && item.state === "claimed" && item.mine)) {
    const now = queue.find((item) => item.id === claim.id);
    if (!now || now.state === "decided") lost("It has been decided by someone else.");
    else if (now.state === "open") lost("Your ten minutes are over, so it went back into the queue.");
    else if (!now.mine) lost(`${now.holder ?? "Someone else"} has it now.`);
  }
}

let timer = 0;
function refresh() {
  clearTimeout(timer);
  timer = setTimeout(load, 150);
}
line.on("review", refresh);

const shown = () => queue.filter(open);

function drawQueue() {
  const items = shown();
  const list = $("#queue");
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.item : null;
  list.replaceChildren(...items.map(row));
  if (focused) {
    const again = $$("button", list).find((button) => button.dataset.item === focused) ?? $("button", list);
    again?.focus({ preventScroll: true });
  }
  $("#queue-none").hidden = first || items.length > 0;
  $("#parts-count").hidden = items.length === 0;
  $("#parts-count").textContent = String(items.length);
  $("#count").textContent = String(items.length);
  tickAges();
  if (!chosen || !items.some((item) => item.id === chosen)) {
    if (!claim && !away) choose(items[0]?.id ?? null, { quiet: true });
  }
}

function kindBadge(item) {
  if (item.kind === "report") return badge("Reported", "badge--accent");
  if (item.kind === "second_look") return badge("Another look", "badge--accent");
  if (item.risk && item.risk !== "none") return badge(...riskBadge(item.risk));
  if (!item.labels?.length && item.reason === "check_failed") return badge("Check failed", "badge--held");
  return badge("Held", "badge--held");
}

const writer = (item) => {
  const who = item.sender_role ? roleWord(item.sender_role) : "Someone";
  return item.kind === "second_look" ? `${who} asks again` : `${who} wrote`;
};
const why = (item) => aboutAll(item.labels, heldFor(item.reason));

function row(item) {
  const others = item.state === "claimed" && !item.mine;
  return el("li", {}, el("button", { class: "item", type: "button", dataset: { item: item.id }, "aria-current": item.id === chosen ? "true" : null, onclick: () => choose(item.id, { focus: true }) },
    el("span", { class: "row row--tight" }, kindBadge(item), el("span", { class: "grow small soft", text: writer(item) }), el("b", { class: "small num age", dataset: { at: item.created_at } })),
    el("span", { class: "small item__why", text: others ? `${item.holder ?? "Someone"} is looking at it` : item.mine ? `Yours. ${why(item)}` : why(item) })));
}

function tickAges() {
  let oldest = 0;
  for (const item of shown()) oldest = Math.max(oldest, secondsSince(item.created_at));
  for (const node of $$("#queue .age")) node.textContent = span(secondsSince(node.dataset.at));
  const any = shown().length > 0;
  $("#oldest-part").hidden = !any;
  if (any) $("#oldest").textContent = span(oldest);
}

/** Put an item in the middle, without its words. */
function choose(id, { focus = false, quiet = false } = {}) {
  if (claim && claim.id === id) {
    if (narrow() && !quiet) choosePart("main");
    return;
  }
  if (claim) giveBack({ silent: true });
  away = false;
  chosen = id;
  for (const button of $$("#queue button")) {
    if (button.dataset.item === id) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  problem($("#problem"), "");
  drawItem();
  if (id && !quiet && narrow()) choosePart("main");
  if (focus) $("#title").focus({ preventScroll: true });
}

function move(by) {
  const items = shown();
  if (!items.length) return;
  const at = items.findIndex((item) => item.id === chosen);
  const next = items[Math.min(items.length - 1, Math.max(0, at + by))];
  if (next.id === chosen) return;
  choose(next.id);
  const button = $$("#queue button").find((each) => each.dataset.item === next.id);
  button?.focus();
}

// ---------------------------------------------------------------------------- the item

const current = () => (claim ? claim.item : queue.find((item) => item.id === chosen && open(item)) ?? null);

function titleOf(item) {
  const to = { pupil: "Pupil to supporter", mentor: "Supporter to pupil" }[item.sender_role] ?? "In a chat";
  if (item.kind === "report") return `${to}, reported after it was sent`;
  if (item.kind === "second_look") return `${to}, another look`;
  return `${to}, held before sending`;
}

function drawItem() {
  const item = current();
  const mine = Boolean(claim);
  $("#away").hidden = !away;
  $("#item").hidden = !mine;
  $("#decide").hidden = !mine;
  $("#ring").hidden = !mine;
  $("#unread").hidden = mine || away || !item;
  $("#badges").replaceChildren(...(item ? [kindBadge(item)] : []));
  $("#title").textContent = away ? "Stepped away" : item ? titleOf(item) : first ? "One moment" : "Nothing to review";
  $("#subtitle").textContent = !item || away ? "" : mine ? `Yours until ${clock(claim.until)}. Held ${moment(item.created_at)}.` : `${why(item)}. Held ${moment(item.created_at)}, look by ${clock(item.due_at)}.`;
  drawPolicy(item);
  if (!mine) {
    clearWords();
    if (item) {
      const others = item.state === "claimed" && !item.mine;
      $("#unread-title").textContent = others ? `${item.holder ?? "Someone else"} is looking at this` : "The words aren’t here until you ask";
      $("#unread-words").textContent = others ? "It comes back into the queue if they don’t decide." : "Reading is logged, and makes it yours for 10 minutes.";
      $("#read").hidden = others;
    }
    return;
  }
  const report = item.kind === "report";
  $("#subject-h").textContent = { report: "Reported message", second_look: "Message that wasn’t sent" }[item.kind] ?? "Held message";
  $("#subject-section").hidden = claim.text === null || claim.text === undefined; // the chat was reported, not one message
  $("#note-section").hidden = !claim.note;
  $("#note-words").textContent = claim.note ?? "";
  reasonList($("#reasons"), claim);
  $("#context-more").hidden = !item.conversation || claim.more;
  $("#reason-words").textContent = report ? "(for the record)" : "(told to the sender if it isn’t sent)";
  setLabel("#release", report ? "It’s all right" : "Send it");
  setLabel("#withhold", report ? "It isn’t all right" : "Don’t send");
  setLabel("#escalate", report ? "Pass to the adult" : "Don’t send, pass to the adult");
  drawWords();
}

const setLabel = (id, text) => {
  $("span", $(id)).textContent = text;
};

function clearWords() {
  for (const id of ["#subject", "#context", "#reasons"]) $(id).replaceChildren();
  $("#note-words").textContent = "";
}

/** The words themselves, blurred or not. What is blurred is not in the page. */
function drawWords() {
  const hide = !revealed;
  const nodes = claim.marks?.length ? marked(claim.text ?? "", claim.marks, { numbers: true, hide }) : hide && claim.item.kind !== "second_look" ? hidden(claim.text ?? "") : [claim.text ?? ""];
  $("#subject").replaceChildren(...nodes);
  transcript($("#context"), claim.context, { hide, who: (from) => roleWord(from?.role), current: claim.item.message });
  $("#context-none").hidden = (claim.context ?? []).length > 0;
  $("#unblur").setAttribute("aria-pressed", String(revealed));
  $("#unblur-words").textContent = revealed ? "Blur the hard words" : "Show the hard words";
}

function reveal(on) {
  revealed = on;
  if (claim) {
    drawWords();
    claim.shownAt = Date.now();
  }
}

function drawPolicy(item) {
  const labels = new Set((item?.labels ?? []).map((label) => label.split(":")[0]));
  for (const section of $$("[data-policy]")) {
    const about = section.dataset.policy.split(" ");
    section.hidden = !(about.includes("always") || (item && (about.some((label) => labels.has(label)) || about.includes(item.kind) || (about.includes("degraded") && item.reason === "check_failed") || about.includes(`held-${item.reason}`) || (about.includes("report") && [...labels].some((label) => label === "reported")))));
  }
  $("#this-chat").hidden = !item?.conversation;
  $("#seen-by").hidden = !item || item.kind === "report";
  if (!item) return;
  const sender = roleWord(item.sender_role).toLowerCase();
  const other = item.sender_role === "mentor" ? "pupil" : "supporter";
  $("#seen-words").textContent = item.kind === "second_look" ? `The ${sender}: “A different adult will look again.” The ${other} sees nothing of it.` : `The ${sender}: “An adult is looking at this first.” The ${other} sees nothing of it.`;
  const facts = [["Written by", `A ${sender}`], [item.kind === "report" ? "Reported" : "Held", moment(item.created_at)], ["Look by", moment(item.due_at)]];
  $("#facts").replaceChildren(...facts.flatMap(([name, text]) => [el("dt", { text: name }), el("dd", { text })]));
  $("#pause-words").textContent = paused.has(item.conversation) ? "Let this chat go on" : "Pause this chat";
}

async function read() {
  const item = current();
  if (!item || claim || (item.state === "claimed" && !item.mine)) return;
  const id = item.id;
  let answer;
  try {
    answer = await api("POST", `/api/review/${encodeURIComponent(id)}/claim`, {});
  } catch (error) {
    if (chosen === id) {
      problem($("#problem"), words(error));
      $("#problem").focus();
    }
    load();
    return;
  }
  if (chosen !== id) {
    api("POST", `/api/review/${encodeURIComponent(id)}/release-claim`, {}).catch(() => {}); // somebody moved on meanwhile
    return;
  }
  claim = { ...answer, id, item: { ...item, ...answer.item, mine: true }, more: false, shownAt: Date.now(), claimedAt: Date.now() };
  revealed = !$("#blur").checked;
  $("#reason").value = likelyReason(claim.item.labels);
  $("#decide-note").value = "";
  problem($("#problem"), "");
  drawItem();
  drawQueue();
  tickClaim();
  $("#title").focus({ preventScroll: true });
  $("#item-body").scrollTop = 0;
}

async function moreContext() {
  if (!claim || claim.more) return;
  const mine = claim;
  try {
    const answer = await api("GET", `/api/conversations/${encodeURIComponent(mine.item.conversation)}?scope=excerpt`);
    if (claim !== mine) return;
    mine.context = answer.items.filter((line_) => line_.message !== mine.item.message);
    mine.more = true;
    drawWords();
    $("#context-more").hidden = true;
    $("#context-h").focus();
    say(`${count(mine.context.length, "line")} shown`);
  } catch (error) {
    problem($("#problem"), words(error));
  }
}

/** The item left our hands: its words leave the page. */
function lost(text) {
  claim = null;
  drawItem();
  problem($("#problem"), text);
  drawQueue();
}

function giveBack({ silent = false } = {}) {
  const id = claim?.id;
  claim = null;
  if (!id) return;
  api("POST", `/api/review/${encodeURIComponent(id)}/release-claim`, {}).then(refresh, () => {}); // else it lapses by itself
  if (!silent) say("It went back into the queue.");
}

function tickClaim() {
  if (!claim) return;
  const left = claim.until ? secondsUntil(claim.until) : CLAIM_S - (Date.now() - claim.claimedAt) / 1000;
  $("#ring-words").textContent = face(left);
  $("#ring-left").setAttribute("stroke-dasharray", `${Math.max(0, Math.min(100, (left / CLAIM_S) * 100)).toFixed(1)} 100`);
  const aloud = readAloud(left);
  if (aloud && left < CLAIM_S - 5) $("#ring-say").textContent = aloud;
  if (left <= 0) lost("Your ten minutes are over, so it went back into the queue.");
}

// ---------------------------------------------------------------------------- deciding

const SAID = {
  held: { release: "Sending it", withhold: "Not sending it", escalate: "Not sending it, and passing it to the adult" },
  report: { release: "Marking it as all right", withhold: "Marking it as not all right", escalate: "Passing it to the adult" },
};
const DONE = {
  held: { release: "It was sent", withhold: "It was not sent", escalate: "Passed to the on-site adult" },
  report: { release: "Marked as all right", withhold: "Marked as not all right", escalate: "Passed to the on-site adult" },
};

function choice(decision) {
  if (!claim || Date.now() - claim.shownAt < GUARD_MS) return;
  waiting?.wait.now(); // one at a time: the one before is final now
  const body = { decision, reason: $("#reason").value, note: $("#decide-note").value.trim() || null };
  const item = claim.item;
  const kind = item.kind === "report" ? "report" : "held";
  const mine = { id: claim.id, item, decision, kind, claim };
  mine.wait = new Undoable({ run: (how) => commit(mine, body, how) });
  waiting = mine;
  claim = null;
  const items = shown();
  chosen = null;
  choose(items[0]?.id ?? null, { quiet: true });
  drawQueue();
  $("#undo").hidden = false;
  $("#undo-words").textContent = `${SAID[kind][decision]}. Undo within ${UNDO_S} seconds.`;
  tickUndo();
  // On to the next one: Enter reads it. Undo is a key or a press away, and not what Enter would do.
  ($("#unread").hidden || $("#read").hidden ? $("#title") : $("#read")).focus({ preventScroll: true });
}

function undo() {
  const mine = waiting;
  if (!mine?.wait.undo()) return;
  waiting = null;
  $("#undo").hidden = true;
  if (claim) giveBack({ silent: true });
  chosen = mine.id;
  claim = { ...mine.claim, shownAt: Date.now() };
  away = false;
  drawItem();
  drawQueue();
  tickClaim();
  say("Undone. Nothing was decided.");
  $("#title").focus({ preventScroll: true });
}

async function commit(mine, body, how) {
  if (waiting === mine) {
    const back = $("#undo").contains(document.activeElement);
    $("#undo").hidden = true;
    if (back) $("#title").focus({ preventScroll: true });
  }
  let answer;
  try {
    answer = await decide(mine.id, body, how);
  } catch (error) {
    if (waiting === mine) waiting = null;
    problem($("#problem"), `Not decided: ${words(error)}`);
    $("#problem").focus();
    load();
    return;
  }
  if (waiting === mine) waiting = null;
  const later = body.decision === "release" && mine.kind === "held" && answer?.delivered === false;
  toast(later ? "It goes when the chat goes on" : DONE[mine.kind][body.decision]);
  const at = queue.findIndex((item) => item.id === mine.id);
  if (at >= 0) queue[at] = { ...queue[at], state: "decided" };
  drawQueue();
  refresh();
}

function tickUndo() {
  if (waiting && !waiting.wait.done) $("#undo-left").textContent = `${waiting.wait.left} s`;
}

async function pauseChat() {
  const item = current();
  const id = item?.conversation;
  if (!id) return;
  const what = paused.has(id) ? "resume" : "pause";
  const text = $("#chat-words");
  try {
    await api("POST", `/api/conversations/${encodeURIComponent(id)}/${what}`, {});
  } catch (error) {
    text.hidden = false;
    text.textContent = words(error);
    return;
  }
  if (what === "pause") paused.add(id);
  else paused.delete(id);
  text.hidden = what === "resume";
  text.textContent = what === "pause" ? "Paused. Both are told, and nothing is delivered until it goes on." : "";
  drawPolicy(current());
  toast(what === "pause" ? "The chat is paused" : "The chat goes on");
}

// ---------------------------------------------------------------------------- keys, buttons

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  r: () => choice("release"),
  w: () => choice("withhold"),
  e: () => choice("escalate"),
  c: () => moreContext(),
  b: () => {
    if (claim) reveal(!revealed);
  },
  p: () => pauseChat(),
  u: () => undo(),
  "?": () => openDialog($("#keys")),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing || event.defaultPrevented) return;
  const target = event.target instanceof Element ? event.target : document.body;
  if (target.closest("input:not([type=checkbox]), textarea, select, [contenteditable], dialog")) return;
  if (event.key === "Enter") {
    // Enter on a row of the queue, or with nothing focused, asks for the words.
    const rowButton = target.closest("#queue button");
    if (rowButton ? rowButton.dataset.item === chosen && !claim : target === document.body || target === $("#title") || target === $("#main")) {
      event.preventDefault();
      read();
    }
    return;
  }
  if (!$("#keys-on").checked) return;
  const act = KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});

$("#read").addEventListener("click", (event) => busy(event.currentTarget, read));
$("#release").addEventListener("click", () => choice("release"));
$("#withhold").addEventListener("click", () => choice("withhold"));
$("#escalate").addEventListener("click", () => choice("escalate"));
$("#decide").addEventListener("submit", (event) => event.preventDefault()); // Enter in the note decides nothing
$("#unblur").addEventListener("click", () => reveal(!revealed));
$("#context-more").addEventListener("click", (event) => busy(event.currentTarget, moreContext));
$("#pause").addEventListener("click", (event) => busy(event.currentTarget, pauseChat));
$("#undo-button").addEventListener("click", undo);
$("#keys-button").addEventListener("click", () => openDialog($("#keys")));
$("#step-away").addEventListener("click", () => {
  giveBack();
  away = true;
  chosen = null;
  drawItem();
  drawQueue();
  if (narrow()) choosePart("main");
  $("#back").focus();
});
$("#back").addEventListener("click", () => {
  away = false;
  drawQueue();
  drawItem();
  $("#title").focus({ preventScroll: true });
});
$("#reason").append(...REASONS.map(([value, text]) => el("option", { value, text })));

// ---------------------------------------------------------------------------- duty

function drawDuty() {
  const on = duty.on;
  $("#duty-dot").className = `dot ${on ? "" : duty.state === "lapsed" ? "dot--danger" : "dot--off"}`.trim();
  $("#duty-words").textContent = { unknown: "Looking up your duty", off: "You’re not on duty", here: "You’re on duty", elsewhere: "You’re on duty", lapsed: "Your duty has lapsed" }[duty.state];
  $("#duty-on").hidden = on || duty.state === "unknown";
  $("#duty-off").hidden = !on;
  problem($("#duty-problem"), duty.problem);
}

$("#duty-on").addEventListener("click", (event) => busy(event.currentTarget, async () => {
  if (await duty.take()) {
    toast("You’re on duty");
    $("#duty-off").focus();
  } else $("#duty-problem").focus();
}));
$("#duty-off").addEventListener("click", (event) => busy(event.currentTarget, async () => {
  if (await duty.end()) {
    toast("Your duty has ended");
    $("#duty-on").focus();
  } else $("#duty-problem").focus();
}));
signOut($("#sign-out"), async () => {
  await waiting?.wait.now();
  giveBack({ silent: true });
  if (duty.state === "here") await duty.end();
  return true;
});

// ---------------------------------------------------------------------------- an adult, now

const PRESSED = {
  unsent: "Not gone yet. We keep trying. Go and find an adult; if life is at risk, ring 999.",
  asked: "The adults are being told. It says here when one of them has it.",
  still_asking: "Still asking, and more adults are told. If life is at risk, ring 999.",
  has_it: "An adult has this.",
  here: "An adult has this.",
};
let press = null; // the alert of this page's last press

function drawPressed(state, more = "") {
  $("#pressed").hidden = false;
  $("#pressed-words").textContent = [PRESSED[state] ?? "", more].filter(Boolean).join(" ");
  $("#mistake").hidden = !press;
}

$("#emergency").addEventListener("click", (event) => busy(event.currentTarget, async () => {
  press = null;
  drawPressed("unsent");
  try {
    press = (await line.request({ type: "flag", conversation: null, urgency: "emergency" })).alert;
    drawPressed("asked");
  } catch {
    drawPressed("unsent", "That didn’t get through.");
  }
}));
line.on("help", (frame) => {
  if (frame.conversation === null) drawPressed(frame.state);
});
$("#mistake").addEventListener("click", (event) => busy(event.currentTarget, async () => {
  try {
    await line.request({ type: "mistake", alert: press });
    press = null;
    drawPressed("asked", "They know that you say it was a mistake; one of them still has to look.");
  } catch (error) {
    drawPressed("asked", words(error));
  }
}));

// ---------------------------------------------------------------------------- begin

lineState(line, { onopen: load });
line.on("away", ({ code }) => {
  if (code !== 4100 && code !== 4101) return;
  queue = []; // signed out: nothing of anybody stays on the screen
  chosen = null;
  lost("");
});
let polled = Date.now();
everySecond((now) => {
  tickAges();
  tickClaim();
  tickUndo();
  if (now - polled > POLL_MS) {
    polled = now;
    load();
  }
});
addEventListener("pagehide", () => {
  if (claim) api("POST", `/api/review/${encodeURIComponent(claim.id)}/release-claim`, {}, { keepalive: true }).catch(() => {});
});

drawKeys();
drawDuty();
drawItem();
load();
line.open();
