// The on-site adult's page: duty, alerts, one case, its chat, its held texts.
//
// What it promises: an unanswered immediate alert is on the screen, in the title and in the air until somebody takes
// it; the duty this person took here is renewed while the page lives; nothing of a case stays in the page once another
// is opened; texts are fetched when they are opened, and each fetch is a logged reading.

import { $, $$, api, busy, el, icon, meta, say, show, toast } from "./dom.js";
import { Alarm } from "./alarm.js";
import { Line } from "./line.js";
import { Duty, badge, confirmed, everySecond, lineState, narrow, parts, problem, signOut, transcript, words, wrong } from "./staff.js";
import { DutyCard } from "./staff_duty.js";
import { HeldCard } from "./staff_item.js";
import { RecordCard } from "./staff_record.js";
import { about, aboutAll, capital, clock, count, face, heldFor, listed, moment, readAloud, riskBadge, roleWord, secondsSince, secondsUntil, span, when } from "./staff_words.js";
import { Composer, ThreadView, Threads } from "./thread.js";
import { reasonWords } from "./words.js";

const ME = meta("alias");
const SERVICE = meta("service-name");
const TITLE = `Desk – ${SERVICE}`;
const URGENT_TITLE = `● Someone needs you – ${SERVICE}`;
const POLL_MS = 30_000;
const ACT_S = 600; // an acknowledgement without an action lapses after ten minutes
const NEXT_TELLING = "until all adults are told again"; // every telling goes to the open pages of all of them

const line = new Line();
const threads = new Threads(line);
const alarm = new Alarm({ onchange: drawSound });
const duty = new Duty(line, drawDuty);
new DutyCard(line, duty);
const record = new RecordCard(() => refreshCase());
const choosePart = parts("main");

let alerts = [];
let review = [];
let overview = null;
let open = null; // {kind: "case", id, detail, whole} or {kind: "held", id}
let cards = []; // HeldCards in the page
let chat = null; // {id, view, composer} while a thread is drawn
const drafts = new Map(); // case id -> {note, act, actNote, outcome, rationale}; in this page's memory alone
const late = new Map(); // what could not be loaded -> words
const hushed = new Map(); // alert id -> the rung at which somebody stopped the sound

document.title = TITLE;

const unanswered = (alert) => alert.state === "open" || alert.state === "notifying";
const ringing = () => alerts.filter((alert) => alert.risk === "immediate" && unanswered(alert));
/** The adults on duty; a moderator's duty keeps nothing open. */
const adults = () => (overview?.on_duty ?? []).filter((each) => (each.role ?? "adult") === "adult");
const otherAdults = () => adults().filter((each) => each.name !== ME);
const name = (alert) => alert.who || "Someone";
/** "Grey Heron", or "About supporter Green Willow" where it is about somebody else. */
const subject = (alert) => {
  if (!alert.about || alert.about === "pupil") return name(alert);
  return /^An? /.test(name(alert)) ? `About ${name(alert).toLowerCase()}` : `About ${roleWord(alert.about).toLowerCase()} ${name(alert)}`;
};

// ---------------------------------------------------------------------------- what is fetched

function soon(fn, ms) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(fn, ms);
  };
}

let first = true;
async function loadAlerts() {
  if (first) setTimeout(() => {
    $("#alerts-loading").hidden = !first;
  }, 300);
  try {
    alerts = (await api("GET", "/api/alerts")).items;
    first = false;
    $("#alerts-loading").hidden = true;
  } catch (error) {
    if (error.status === 401) line.restart(); // the line says so in words
    else stale("alerts", "The newest alerts couldn’t be loaded.");
    return;
  }
  stale("alerts", "");
  drawAlerts();
  drawAlarms();
  drawNow();
}

async function loadReview() {
  try {
    review = (await api("GET", "/api/review?limit=200")).items.filter((item) => item.state !== "decided");
  } catch (error) {
    if (error.status !== 401) stale("review", "The held texts couldn’t be loaded.");
    return;
  }
  stale("review", "");
  drawHeld();
}

/** Say what is out of date, until it is not; the pages ask again by themselves. */
function stale(what, text) {
  if (text) late.set(what, text);
  else late.delete(what);
  drawHome();
  problem($("#page-problem"), late.size ? `${[...late.values()].join(" ")} We keep trying, every half minute and whenever something changes.` : "");
}

async function loadOverview() {
  try {
    overview = await api("GET", "/api/overview");
  } catch {
    return;
  }
  const saving = overview.health?.find((each) => each.what === "Saving");
  stale("saving", saving && !saving.ok ? saving.words : "");
  duty.seen(overview.on_duty.find((each) => each.name === ME)?.until ?? null);
  drawDuty();
}

const refreshAlerts = soon(loadAlerts, 120);
const refreshReview = soon(loadReview, 200);
const refreshOverview = soon(loadOverview, 400);
const refreshCase = soon(() => reloadCase(), 350);

function refreshAll() {
  loadAlerts();
  loadReview();
  loadOverview();
}

line.on("alert", (frame) => {
  const at = alerts.findIndex((alert) => alert.id === frame.alert.id);
  if (at >= 0) alerts[at] = { ...alerts[at], ...frame.alert };
  if (frame.change === "climbed" || frame.change === "raised") hushed.delete(frame.alert.id);
  if (at >= 0) drawAlarms();
  if (frame.change === "raised") loadAlerts();
  else refreshAlerts();
  if (open?.kind === "case" && open.id === frame.alert.id) refreshCase();
});
line.on("review", (frame) => {
  refreshReview();
  // The case's own list of held texts follows; no text is read for it.
  if (open?.kind === "case" && open.detail && frame.item.conversation === open.detail.conversation && frame.change === "added") refreshCase();
});
line.on("site", () => refreshOverview());
for (const type of ["paused", "resumed", "ended"]) {
  line.on(type, (frame) => {
    if (open?.detail && frame.conversation === open.detail.conversation) {
      open.detail.conversation_state = { paused: "paused", resumed: "open", ended: "ended" }[type];
      drawChatActions();
    }
  });
}

// ---------------------------------------------------------------------------- immediate alerts

const alarmNodes = new Map();

function drawAlarms() {
  const urgent = ringing();
  const box = $("#alarms");
  for (const [id, node] of alarmNodes) {
    if (urgent.some((alert) => alert.id === id)) continue;
    const focused = node.root.contains(document.activeElement);
    node.root.remove();
    if (focused) $("#main").focus();
    const taken = alerts.find((alert) => alert.id === id);
    if (taken?.holder && !taken.mine) say(`${taken.holder} has taken it on.`);
    alarmNodes.delete(id);
    hushed.delete(id);
  }
  for (const alert of urgent) {
    if (!alarmNodes.has(alert.id)) {
      const node = alarmNode(alert);
      alarmNodes.set(alert.id, node);
      node.draw(alert); // whole before it is in the page: it is read out once
      box.append(node.root);
      if (narrow()) {
        box.classList.remove("alarms--small");
        if (!box.contains(document.activeElement)) setTimeout(() => node.heading.focus(), 0);
      }
    } else alarmNodes.get(alert.id).draw(alert);
  }
  box.hidden = urgent.length === 0;
  document.title = urgent.length ? URGENT_TITLE : TITLE;
  const loud = urgent.some((alert) => hushed.get(alert.id) !== alert.rung);
  if (loud) {
    alarm.start();
    if (narrow()) box.classList.remove("alarms--small");
  } else alarm.stop();
  coverPage();
}

/** On a phone an immediate alert has the whole screen: what is under it takes no focus. */
function coverPage() {
  const box = $("#alarms");
  const covers = !box.hidden && narrow() && !box.classList.contains("alarms--small");
  for (const child of $("#desk").children) if (child !== box) child.inert = covers;
  document.body.classList.toggle("is-covered", covers);
}
matchMedia("(max-width: 63.99rem)").addEventListener("change", coverPage);

function alarmNode(alert) {
  const heading = el("h2", { class: "alarm__title", id: `alarm-${alert.id}`, tabindex: "-1" });
  const facts = { who: el("dd"), why: el("dd"), since: el("dd", { class: "num" }) };
  const timer = el("b", { class: "num" });
  const timerWords = el("span");
  const age = el("span", { class: "small" });
  const trouble = el("p", { class: "alarm__trouble", role: "status", hidden: true });
  const take = el("button", { class: "btn btn--primary", type: "button", text: "I’ve got this", "aria-describedby": heading.id, onclick: () => busy(take, async () => {
    trouble.hidden = true;
    const why = await acknowledge(alert.id);
    if (!why) return;
    trouble.textContent = why;
    trouble.hidden = false;
  }) });
  const hush = el("button", { class: "btn", type: "button", text: "Stop the sound", onclick: () => {
    for (const each of ringing()) hushed.set(each.id, each.rung);
    $("#alarms").classList.add("alarms--small");
    drawAlarms();
    say("The sound has stopped. The alert goes on until somebody takes it.");
  } });
  const root = el("section", { class: "alarm alarm--desk", "aria-labelledby": heading.id },
    el("div", { class: "alarm__main", role: "alert" },
      el("p", { class: "alarm__top" }, icon("bell"), "Immediate alert"), heading,
      el("dl", {}, el("div", {}, el("dt", { text: "Who" }), facts.who), el("div", {}, el("dt", { text: "Why" }), facts.why), el("div", {}, el("dt", { text: "Since" }), facts.since))),
    el("div", { class: "alarm__side" },
      el("div", { class: "rung", role: "timer", "aria-label": "Next step", "aria-live": "off" }, timer, el("span", {}, timerWords, el("br"), age)),
      el("div", { class: "alarm__foot" }, take, hush, el("p", { class: "small" }, "Life at risk? ", el("a", { href: "tel:999", text: "Call 999" }), ". We never call for you."), trouble)));
  return {
    root,
    heading,
    draw(now) {
      set(heading, urgentTitle(now));
      set(facts.who, isPractice(now) ? now.who || "Nobody" : now.about && now.about !== "pupil" ? subject(now) : !now.who || /^An? /.test(now.who) ? "A pupil" : `${now.who}, a pupil${now.conversation ? " in a chat" : ""}`);
      set(facts.why, aboutAll(now.labels, "Somebody asked for an adult"));
      set(facts.since, moment(now.opened_at));
      this.tick(now);
    },
    tick(now) {
      set(age, `${span(secondsSince(now.opened_at))} since it was raised`);
      const left = secondsUntil(now.next_due_at);
      if (now.state === "open" || !now.next_due_at || left <= 0) {
        set(timer, "Now");
        set(timerWords, now.state === "open" ? "the adults on duty are being told" : "the next people are being told");
      } else {
        set(timer, face(left));
        set(timerWords, NEXT_TELLING);
      }
    },
  };
}

const isPractice = (alert) => (alert.labels ?? []).includes("practice");
const urgentTitle = (alert) => isPractice(alert) ? "Practice: nobody is in danger" : (alert.about && alert.about !== "pupil" ? "Someone may be in danger" : `${name(alert)} may be in danger`);

/** Change a text only when it differs: live regions speak for every change. */
function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Take an alert on. Resolves to "" or to words of why not. */
async function acknowledge(id) {
  try {
    await api("POST", `/api/alerts/${encodeURIComponent(id)}/acknowledge`, {});
  } catch (error) {
    loadAlerts();
    return words(error);
  }
  const alert = alerts.find((each) => each.id === id);
  if (alert) Object.assign(alert, { state: "acknowledged", mine: true, holder: ME });
  drawAlarms();
  loadAlerts();
  await openCase(id);
  return "";
}

// ---------------------------------------------------------------------------- the lists

function drawAlerts() {
  const live = alerts.filter((alert) => alert.state !== "closed");
  const rank = { immediate: 0, high: 1, concern: 2 };
  live.sort((a, b) => (rank[a.risk] ?? 3) - (rank[b.risk] ?? 3) || Number(!unanswered(a)) - Number(!unanswered(b)) || when(a.opened_at) - when(b.opened_at));
  const closed = alerts.filter((alert) => alert.state === "closed");
  fill($("#alerts"), live, alertRow);
  fill($("#alerts-closed"), closed, alertRow);
  $("#closed-section").hidden = !closed.length;
  $("#alerts-none").hidden = live.length > 0;
  set($("#alerts-count"), live.length ? `${live.length} open` : "");
  const waiting = live.filter(unanswered).length;
  $("#parts-count").hidden = waiting === 0;
  set($("#parts-count"), `${waiting} new`);
  drawHome();
}

function alertRow(alert) {
  const [word, look] = riskBadge(alert.risk);
  const closed = alert.state === "closed";
  return row({
    id: alert.id, kind: "case", badges: [closed ? badge("Closed", "badge--calm") : badge(word, look)],
    at: alert.opened_at, title: subject(alert), words: holding(alert), onclick: () => openCase(alert.id),
  });
}

function holding(alert) {
  if (alert.state === "closed") return aboutAll(alert.labels);
  if (unanswered(alert)) return "Nobody has it yet";
  const done = alert.state === "in_hand" ? "In hand" : "Taken on, nothing done yet";
  if (alert.mine) return alert.state === "in_hand" ? "Yours, in hand" : "Yours. Now do one thing";
  return alert.holder ? `With ${alert.holder}. ${done}` : done;
}

function row({ id, kind, badges, at, title, words: text, onclick }) {
  const chosen = open?.kind === kind && open.id === id;
  return el("li", {}, el("button", { class: "item", type: "button", "aria-current": chosen ? "true" : null, dataset: { [kind]: id }, onclick },
    el("span", { class: "row row--tight row--wrap" }, ...badges, el("time", { class: "small num push", datetime: at, text: moment(at) })),
    el("b", { text: title }), el("span", { class: "small soft", text })));
}

/** Redraw a list without losing where the keyboard was. */
function fill(list, items, draw) {
  const focused = list.contains(document.activeElement) ? { ...document.activeElement.dataset } : null;
  list.replaceChildren(...items.map(draw));
  if (!focused) return;
  const [key, value] = Object.entries(focused)[0] ?? [];
  if (key) $$("button", list).find((button) => button.dataset[key] === value)?.focus({ preventScroll: true });
}

const risky = (item) => item.risk && item.risk !== "none";

function drawHeld() {
  const free = review.filter((item) => !item.alert);
  const mine = free.filter(risky);
  const others = free.filter((item) => !risky(item));
  fill($("#held"), mine, heldRow);
  fill($("#held-others"), others, heldRow);
  $("#held-section").hidden = mine.length === 0;
  set($("#held-count"), mine.length ? `${mine.length}` : "");
  $("#others-held").hidden = others.length === 0;
  set($("#others-held-words"), `Other held texts (${others.length})`);
  drawHome();
}

function heldRow(item) {
  const [word, look] = riskBadge(item.risk);
  const what = { report: "Reported", second_look: "Another look asked for" }[item.kind] ?? "Held";
  return row({
    id: item.id, kind: "held", badges: [badge(what, "badge--held"), risky(item) ? badge(word, look) : null].filter(Boolean), at: item.created_at,
    title: `${{ pupil: "A pupil", mentor: "A supporter" }[item.sender_role] ?? "Someone"} wrote`,
    words: `${aboutAll(item.labels, heldFor(item.reason))}. ${item.mine ? "Yours." : item.holder ? `${item.holder} is looking.` : `Look by ${clock(item.due_at)}.`}`,
    onclick: () => openHeld(item.id),
  });
}

// ---------------------------------------------------------------------------- duty, sound, home

function drawDuty() {
  const on = duty.on;
  const others = otherAdults();
  const dot = $("#duty-dot");
  dot.className = `dot ${on ? "" : duty.state === "lapsed" ? "dot--danger" : "dot--off"}`.trim();
  set($("#duty-words"), { unknown: "Looking up your duty", off: "You’re not on duty", here: "You’re on duty", elsewhere: "You’re on duty", lapsed: "Your duty has lapsed" }[duty.state]);
  $("#duty-off").hidden = !on;
  const start = $("#duty-on");
  start.hidden = !["off", "elsewhere", "lapsed"].includes(duty.state);
  set(start, duty.state === "elsewhere" ? "Keep my duty from this page" : "Start duty");
  start.classList.toggle("btn--primary", duty.state !== "elsewhere");
  problem($("#duty-problem"), duty.problem);
  $("#others").hidden = others.length === 0;
  set($("#others"), others.length ? `${on ? "Also on" : "On"} duty: ${listed(others.map((each) => each.name))}` : "");
  drawHome();
  drawSound();
}

function drawHome() {
  const title = { unknown: "Your duty", off: "You’re not on duty", here: "You’re on duty", elsewhere: "You’re on duty", lapsed: "Your duty has lapsed" }[duty.state];
  set($("#home-title"), title);
  const nobody = overview && !adults().length;
  set($("#home-words"), {
    unknown: "One moment.",
    off: nobody ? "No adult is on duty. Until one is, nobody can start a chat and open chats wait." : "Start when you can answer an alert at once.",
    here: "This page keeps it up while it is open. End it here when you go.",
    elsewhere: "Another page or device of yours keeps it up. Alerts show and ring here too.",
    lapsed: duty.problem,
  }[duty.state]);
  const waiting = alerts.filter(unanswered);
  const held = review.filter((item) => !item.alert && risky(item)).length;
  const box = $("#home-notice");
  box.hidden = duty.state === "unknown" || !overview;
  if (!box.hidden && (!line.isOpen || late.size)) {
    // "All quiet" is only said by a page that would know.
    box.classList.add("notice--warn");
    $("use", box).setAttribute("href", "#i-offline");
    set($("#home-notice-title"), "We can’t see what is new");
    set($("#home-notice-words"), "It may not be quiet. Keep another way to be reached until the line is back.");
  } else if (!box.hidden) {
    const stopped = nobody && overview.chats ? overview.chats.open + overview.chats.paused : 0;
    const quiet = waiting.length === 0 && held === 0 && stopped === 0;
    box.classList.toggle("notice--warn", !quiet);
    $("use", box).setAttribute("href", quiet ? "#i-tick" : "#i-bell");
    set($("#home-notice-title"), quiet ? "All quiet" : "Something needs an adult");
    const chats = overview.chats ? `${count(overview.chats.open, "chat")} open${overview.chats.paused ? `, ${overview.chats.paused} paused` : ""}` : "";
    const open = [waiting.length ? count(waiting.length, "alert") : "", held ? count(held, "held text") : ""].filter(Boolean);
    set($("#home-notice-words"), quiet ? [chats, "Nothing needs you."].filter(Boolean).join(". ") : !open.length ? `${capital(count(stopped, "chat waits", "chats wait"))} until an adult is on duty.` : `${capital(listed(open))} with nobody on ${waiting.length + held === 1 ? "it" : "them"} yet. See the list.`);
  }
  const here = (overview?.on_duty ?? []).map((each) => el("li", {}, el("span", { class: "dot" }), el("span", { class: "grow", text: each.name === ME ? `${each.name} (you)` : each.name }), each.role ? el("span", { class: "small soft", text: each.role === "adult" ? "on-site adult" : roleWord(each.role).toLowerCase() }) : null));
  $("#here").replaceChildren(...(here.length ? here : [el("li", {}, el("span", { class: "dot dot--off" }), el("span", { text: overview ? "Nobody" : "Looking" }))]));
}

function ready(id, ok, text) {
  const item = $(id);
  $("use", item).setAttribute("href", ok ? "#i-tick" : "#i-warn");
  set($("span", item), text);
}

function drawSound() {
  const tested = alarm.testedAt;
  set($("#sound-words"), tested ? `Sound tested ${clock(tested)}` : "Test the sound");
  ready("#ready-sound", Boolean(tested) && !alarm.blocked(), alarm.blocked() && tested ? "The browser has turned the sound off" : tested ? `Sound tested at ${clock(tested)}: four notes. Didn’t hear them? Turn the volume up and test again` : "Sound not tested yet");
  $("#sound-blocked").hidden = !((duty.on || alarm.ringing()) && alarm.blocked());
}

async function testSound() {
  const heard = await alarm.test();
  say(heard ? "Four notes were played." : "The browser played nothing.");
  drawSound();
}

for (const id of ["#sound-test", "#sound-test-home", "#sound-on"]) $(id).addEventListener("click", (event) => busy(event.currentTarget, testSound));
for (const type of ["pointerdown", "keydown"]) document.addEventListener(type, () => alarm.blocked() && duty.on && alarm.wake(), { capture: true });

$("#duty-on").addEventListener("click", (event) => busy(event.currentTarget, async () => {
  const sound = testSound(); // in the same press: browsers allow sound from here on
  const ok = await duty.take();
  await sound;
  loadOverview();
  if (ok) {
    keepAwake();
    $("#home-title").tabIndex = -1;
    $("#home-title").focus();
    toast("You’re on duty");
  } else $("#duty-problem").focus();
}));

async function endDuty() {
  const others = otherAdults();
  const sure = await confirmed({
    title: "End your duty?",
    text: others.length ? `${listed(others.map((each) => each.name))} ${others.length === 1 ? "is" : "are"} on duty too, so chats go on.` : "No other adult is on duty. All chats will pause, and everyone in them is told.",
    yes: "End duty", no: "Stay on duty",
  });
  if (!sure) return false;
  const ok = await duty.end();
  loadOverview();
  if (ok) toast("Your duty has ended");
  else $("#duty-problem").focus();
  return ok;
}

$("#duty-off").addEventListener("click", (event) => busy(event.currentTarget, endDuty));
signOut($("#sign-out"), async () => {
  if (duty.state !== "here" || (await endDuty())) return true;
  if (!duty.problem) return false; // they chose to stay
  return confirmed({
    title: "Sign out all the same?",
    text: `${duty.problem} If you sign out, this page stops renewing your duty: it lapses within 90 seconds, unless another device of yours keeps it up.`,
    yes: "Sign out", no: "Stay signed in",
  });
});

let lock = null;
/** A phone that stays awake hears its alerts; where the browser can't, nothing is lost. */
async function keepAwake() {
  if (duty.state !== "here" || document.visibilityState !== "visible" || lock) return;
  try {
    lock = await navigator.wakeLock?.request("screen");
    lock?.addEventListener("release", () => {
      lock = null;
    });
  } catch {
    lock = null;
  }
}
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") {
    keepAwake();
    refreshAll();
  }
});

// ---------------------------------------------------------------------------- opening things

function leaveOpen() {
  keepDraft();
  for (const card of cards) card.drop();
  cards = [];
  $("#case-held").replaceChildren();
  $("#held-item").replaceChildren();
  for (const id of ["#excerpt", "#chronology", "#told"]) $(id).replaceChildren();
  record.leave();
  closeChat();
  open = null;
}

function goHome() {
  leaveOpen();
  show("home");
  drawAside();
  drawAlerts();
  drawHeld();
  if (narrow()) choosePart("main");
}
$("#go-home").addEventListener("click", goHome);

function openHeld(id) {
  const item = review.find((each) => each.id === id);
  if (!item) return;
  leaveOpen();
  open = { kind: "held", id };
  const [word, look] = riskBadge(item.risk);
  $("#held-badges").replaceChildren(badge("Held", "badge--held"), ...(risky(item) ? [badge(word, look)] : []));
  set($("#held-title"), "A held text");
  set($("#held-words"), `${aboutAll(item.labels, heldFor(item.reason))}. Held ${moment(item.created_at)}; look by ${clock(item.due_at)}.`);
  const card = new HeldCard({ item, alertable: Boolean(item.conversation), title: "The text", onchange: () => refreshReview() });
  cards = [card];
  $("#held-item").replaceChildren(card.node);
  drawAside();
  drawHeld();
  drawAlerts();
  if (narrow()) choosePart("main");
  show("held");
}

async function openCase(id, { focus = true } = {}) {
  if (open?.kind === "case" && open.id === id && open.detail) {
    await reloadCase();
    if (narrow()) choosePart("main");
    show("case", { focus });
    return;
  }
  leaveOpen();
  open = { kind: "case", id, detail: null, whole: null };
  const detail = await fetchCase(id);
  if (!detail || open?.id !== id) return;
  open.detail = detail;
  drawCase();
  restoreDraft();
  drawAlerts();
  drawHeld();
  if (narrow()) choosePart("main");
  show("case", { focus });
}

async function fetchCase(id) {
  try {
    const detail = await api("GET", `/api/alerts/${encodeURIComponent(id)}`);
    if (open?.id === id) open.readAt ??= new Date();
    return detail;
  } catch (error) {
    if (open?.id === id) {
      if (open.detail) problem($("#case-problem"), words(error));
      else {
        goHome();
        problem($("#page-problem"), words(error));
        $("#page-problem").focus();
      }
    }
    return null;
  }
}

let loading = false;
let again = false;
async function reloadCase() {
  if (open?.kind !== "case" || !open.detail) return;
  if (loading) {
    again = true;
    return;
  }
  loading = true;
  const id = open.id;
  const detail = await fetchCase(id);
  loading = false;
  if (detail && open?.id === id) {
    open.detail = detail;
    drawCase();
  }
  if (again) {
    again = false;
    refreshCase();
  }
}

// ---------------------------------------------------------------------------- one case

/** The lines of a case, by the server's word; an unknown one is shown as it is. */
const WHAT = {
  raised: "Alert raised", evidence: "Something more was added", told: "Adults were told", told_nobody: "No adult had the page open", lapsed: "It lapsed, and adults are told again",
  acknowledged: "Taken on", in_hand: "In hand", joined: "Came into the chat", action: "Done", note: "Note", addition: "Added after closing", updated: "Changed",
  read: "More of the chat was read", read_more: "The whole chat was read", close_proposed: "Closing proposed", closed: "Closed",
  text_release: "Held text sent", text_withhold: "Held text not sent", text_escalate: "Held text passed on",
  unreadable: "A line that cannot be read: its record is damaged",
  handover_offered: "Offered to another adult", handed_over: "Taken over",
  left_chat: "Left the chat", dropped: "No line to them for a minute", came_back: "They are back",
  holder_dropped: "The adult who has it is off duty; the others are told", holder_back: "The adult who has it is back on duty",
  said_mistake: "They say it was pressed by mistake. It still needs an adult",
};
const ALARMING = new Set(["raised", "evidence", "lapsed", "told_nobody", "left_chat", "dropped", "holder_dropped"]);
const GONE = {
  left_chat: "They have left the chat. Nobody can ask them here any more.",
  dropped: "There has been no line to them for a while. Nobody can ask them here just now.",
};

/** What one line of a case says after its first words. */
function detailOf({ what, by, note, data = {} }) {
  const who = by ? (by === ME ? "you" : by) : "";
  const facts = [];
  if (data.labels?.length && (what === "raised" || what === "evidence")) facts.push(data.labels.map(about).join("; "));
  if (data.action) facts.push(data.action);
  if (data.from) facts.push(`from ${data.from}`);
  if (data.to) facts.push(`to ${data.to}`);
  if (data.outcome) facts.push(data.outcome);
  if (data.happened) facts.push(`happened ${moment(data.happened)}, written later`);
  if (note) facts.push(note);
  const text = facts.map((fact) => capital(fact)).join(". ");
  return [who ? `By ${who}${text ? ":" : "."}` : "", text ? `${text}${/[.!?]$/.test(text) ? "" : "."}` : ""].filter(Boolean).join(" ");
}

function drawCase() {
  const detail = open.detail;
  const [word, look] = riskBadge(detail.risk);
  const closed = detail.state === "closed";
  const badges = [badge(word, look)];
  if (closed) badges.push(badge("Closed", "badge--calm", "tick"));
  else if (unanswered(detail)) badges.push(badge("Nobody has it yet", "badge--warn"));
  else badges.push(badge(detail.mine ? "Yours" : `With ${detail.holder ?? "another adult"}`, detail.mine ? "badge--calm" : "badge--adult", detail.mine ? "tick" : "adult"));
  $("#case-badges").replaceChildren(...badges, el("span", { class: "small soft num", text: `Raised ${moment(detail.opened_at)}` }));
  set($("#case-title"), caseTitle(detail));
  set($("#case-words"), `About: ${(detail.labels ?? []).map(about).join("; ") || "somebody asked for an adult"}.`);
  $("#gone").hidden = closed || !detail.gone;
  if (detail.gone) {
    set($("#gone-title"), `Gone since ${clock(detail.gone.since)}: decide whether to find out who this is`);
    set($("#gone-words"), `${GONE[detail.gone.why] ?? ""} Write down what you decide, and why.`);
  }
  $("#take").hidden = closed || !unanswered(detail);
  drawNow();
  drawChronology(detail);
  if (!open.whole) drawExcerpt(detail);
  drawCaseHeld(detail);
  $("#told").replaceChildren(...(detail.told ?? []).map((each) => el("tr", {}, el("th", { scope: "row", text: each.who }), el("td", { text: capital(each.what) }), el("td", { class: each.since ? "r" : "r softer", text: each.since ? moment(each.since) : "not yet" }))));
  $("#told-section").hidden = !(detail.told ?? []).length;
  $("#note-form").hidden = closed;
  record.draw(detail);
  drawAside();
  drawChat();
}

function caseTitle(detail) {
  if (isPractice(detail)) return "Practice: nothing has happened";
  if (detail.about !== "pupil") return subject(detail);
  if (detail.state === "closed") return `About ${name(detail)}`;
  return { immediate: `${name(detail)} may be in danger`, high: `${name(detail)} may need help today`, concern: `Something about ${name(detail)}` }[detail.risk] ?? name(detail);
}

function drawNow() {
  const detail = open?.kind === "case" ? open.detail : null;
  const shown = Boolean(detail && detail.state === "acknowledged" && detail.mine);
  $("#now").hidden = !shown;
  if (!shown) return;
  set($("#lapses-at"), clock(detail.lapses_at ?? detail.next_due_at));
  $('#now [data-do="join"]').hidden = !canJoin(detail);
  set($("#now-words"), canJoin(detail) ? "Join the chat or write down what you did: either counts." : "Write down what you did, or close the case: either counts.");
  tickNow();
}

function tickNow() {
  const detail = open?.detail;
  if (!detail || $("#now").hidden) return;
  const left = secondsUntil(detail.lapses_at ?? detail.next_due_at);
  set($("#lapses-in"), left > 0 ? `in ${face(left)}` : "now");
  $("#lapses-bar").value = Math.max(0, Math.min(ACT_S, left));
  const aloud = readAloud(left);
  if (aloud) set($("#lapses-say"), `${aloud} to do one thing`);
  if (left < -3 && !open.lapseSeen) {
    open.lapseSeen = true;
    loadAlerts();
    refreshCase();
  }
}

function drawChronology(detail) {
  const rows = (detail.chronology ?? []).map((each) => {
    const known = WHAT[each.what];
    const what = known ?? capital(String(each.what ?? "").replaceAll("_", " "));
    return el("li", { class: ALARMING.has(each.what) ? "is-alarm" : null }, el("time", { datetime: each.at, title: moment(each.at), text: clock(each.at, true) }),
      el("span", {}, el("b", { text: `${what}${/[.!?]$/.test(what) ? "" : "."}` }), " ", detailOf(each)));
  });
  if (detail.next && detail.state !== "closed" && detail.state !== "in_hand") {
    rows.push(el("li", { class: "is-next" }, el("time", { datetime: detail.next_due_at ?? null, text: detail.next_due_at ? clock(detail.next_due_at, true) : "next" }), el("span", {}, el("b", { text: "Next. " }), detail.next)));
  }
  $("#chronology").replaceChildren(...rows);
}

function drawExcerpt(detail) {
  const items = detail.excerpt ?? [];
  transcript($("#excerpt"), items);
  if (!items.length) $("#excerpt").replaceChildren(el("li", { class: "lines__none", text: "No message raised this." }));
  set($("#read-words"), `Read by you, ${clock(open.readAt ?? new Date())}`);
  const more = detail.more ?? 0;
  $("#more").hidden = !detail.conversation || more === 0;
  set($("#more-words"), `${count(items.length, "line")} of ${items.length + more} shown. The reason and the time are kept.`);
}

$("#more-reason").addEventListener("change", () => {
  $("#more-other-field").hidden = $("#more-reason").value !== "other";
  wrong("more-reason", false);
  if (!$("#more-other-field").hidden) $("#more-other").focus();
});

$("#more").addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("#more-button"), readWhole);
});

async function readWhole() {
  const chosen = $("#more-reason").value;
  const reason = (chosen === "other" ? $("#more-other").value : chosen).trim();
  if (wrong("more-reason", !reason)) {
    (chosen === "other" ? $("#more-other") : $("#more-reason")).focus();
    return;
  }
  const mine = open;
  let answer;
  try {
    answer = await api("GET", `/api/conversations/${encodeURIComponent(mine.detail.conversation)}?scope=whole&reason=${encodeURIComponent(reason)}`);
  } catch (error) {
    problem($("#case-problem"), words(error));
    $("#case-problem").focus();
    return;
  }
  if (open !== mine) return;
  open.whole = answer.items;
  transcript($("#excerpt"), answer.items);
  $("#more").hidden = true;
  set($("#read-words"), `The whole chat, read by you, ${clock(new Date())}`);
  $("#excerpt-h").focus();
}

// ---------------------------------------------------------------------------- held texts of the case

const undecided = (detail) => (detail?.review ?? []).filter((item) => item.state !== "decided");

function drawCaseHeld(detail) {
  const known = new Map(cards.map((card) => [card.id, card]));
  for (const item of detail.review ?? []) {
    const full = { ...item, ...review.find((each) => each.id === item.id) };
    const card = known.get(item.id);
    if (card) {
      if (item.state === "decided" && (card.state === "closed" || card.state === "open")) {
        card.drop();
        card.node.remove();
        cards = cards.filter((each) => each !== card);
      }
      continue;
    }
    if (item.state === "decided") continue;
    const fresh = new HeldCard({ item: full, title: "Held text", answer: detail.conversation ? answerInChat : null, onchange: (_card, decided) => {
      refreshReview();
      if (decided) refreshCase();
    } });
    cards.push(fresh);
    $("#case-held").append(fresh.node);
  }
  const left = undecided(detail).length;
  $("#case-held-section").hidden = cards.length === 0;
  set($("#case-held-words"), left ? `${left === 1 ? "One waits" : `${left} wait`} for you. What carries risk is sent, or answered by you in the chat; after that it can be left unsent.` : "All are decided.");
  $("#close-held").hidden = left === 0;
  set($("#close-held-words"), `${left === 1 ? "A held text has" : `${left} held texts have`} to be decided first.`);
}

async function answerInChat() {
  if (!(await join())) return;
  chat?.composer.box.focus();
}

// ---------------------------------------------------------------------------- the chat

const inChat = (detail) => Boolean(detail?.conversation && threads.get(detail.conversation)?.open);
const canJoin = (detail) => Boolean(detail?.conversation) && detail.conversation_state !== "ended" && !inChat(detail);

async function join() {
  const detail = open?.detail;
  if (!detail?.conversation) return false;
  if (!inChat(detail)) {
    try {
      await api("POST", `/api/alerts/${encodeURIComponent(detail.id)}/join`, {});
    } catch (error) {
      problem($("#case-problem"), words(error));
      $("#case-problem").focus();
      return false;
    }
    problem($("#case-problem"), "");
    if (open?.detail !== detail) return false;
    const thread = threads.get(detail.conversation) ?? threads.open(detail.conversation, { state: detail.conversation_state === "paused" ? "paused" : "open" });
    thread.state = detail.conversation_state === "paused" ? "paused" : "open";
    thread.ask(0);
    refreshAlerts();
    refreshCase();
  }
  drawChat();
  drawChatActions();
  if (narrow()) choosePart("main");
  $("#chat-h").focus({ preventScroll: true });
  $("#chat").scrollIntoView({ block: "start" });
  return true;
}

function drawChat() {
  const detail = open?.detail;
  const thread = detail?.conversation ? threads.get(detail.conversation) : null;
  $("#chat").hidden = !thread;
  if (!thread) {
    closeChat();
    return;
  }
  if (chat?.id !== thread.id) openChat(thread);
  const state = thread.state;
  const word = $("#chat-state");
  word.className = `badge ${{ open: "badge--calm", paused: "badge--warn" }[state] ?? ""}`;
  set(word, { open: "Open", paused: "Paused: nothing is delivered", ended: "Ended" }[state] ?? state);
  chat.composer.box.disabled = state === "ended";
  chat.composer.button.disabled = state === "ended";
}

function openChat(thread) {
  closeChat();
  const log = el("div", { class: "thread", role: "log", "aria-label": "Messages", tabindex: "0" });
  const fresh = el("button", { class: "btn btn--slim fresh", type: "button", text: "New messages", hidden: true });
  const scroller = el("div", { class: "chatbox__scroll" }, log, fresh);
  const error = el("p", { class: "error", id: "chat-error", role: "status", hidden: true });
  const box = el("textarea", { class: "textarea", id: "chat-box", rows: "1", "aria-describedby": "chat-error", placeholder: "Write to both" });
  const button = el("button", { class: "btn btn--primary btn--icon send", type: "button", "aria-label": "Send" }, icon("send"));
  $("#chatbox").replaceChildren(scroller, error, el("div", { class: "composer" }, el("label", { class: "sr", for: "chat-box", text: "Your message to everyone in this chat" }), box, button));
  const view = new ThreadView(thread, { log, scroller, line, fresh, names: true, event: eventNote, after: afterOwn });
  const composer = new Composer({
    box, button, send: (text) => thread.post(text) !== undefined, typing: () => line.tell({ type: "typing", conversation: thread.id }),
    problem: (text) => {
      error.hidden = !text;
      error.textContent = text;
    },
  });
  const off = thread.on("changed", (what) => what === "state" && drawChat());
  chat = { id: thread.id, view, composer, off };
}

function closeChat() {
  chat?.off();
  chat?.view.destroy();
  chat = null;
  $("#chatbox").replaceChildren();
}

/** Under one's own message that did not go as written. */
function afterOwn({ status, reason, detail }) {
  if (status === "refused") return el("p", { class: "system small", role: "status", text: `It didn’t go, and nobody has read it. ${detail ? `${capital(detail)}.` : ""}`.trim() });
  if (status !== "blocked" && status !== "withheld") return null;
  return el("p", { class: "system small", role: "status", text: `${reasonWords(reason).title} They haven’t seen it; write it again without that.` });
}

function eventNote({ frame, at }) {
  if (!frame) return null;
  const who = frame.member?.alias === ME ? "You" : frame.member?.alias;
  const text = {
    joined: () => `${who} ${who === "You" ? "have" : "has"} come in`,
    left: () => `${who} ${who === "You" ? "have" : "has"} left`,
    paused: () => "The chat is paused. Nothing is delivered for now",
    resumed: () => "The chat goes on",
    ended: () => "The chat has ended",
    support: () => "Helplines were shown",
  }[frame.type]?.();
  return text ? el("p", { class: "day", text: `${text}, ${clock(at)}` }) : null;
}

threads.on("opened", (thread) => {
  if (open?.detail?.conversation === thread.id) {
    drawChat();
    drawChatActions();
  }
});
threads.on("ended", () => drawChatActions());

// ---------------------------------------------------------------------------- actions

function drawAside() {
  set($("#part-main"), { case: "Case", held: "Text" }[open?.kind] ?? "Duty");
  const detail = open?.kind === "case" ? open.detail : null;
  $("#actions-none").hidden = Boolean(detail);
  $("#actions-body").hidden = !detail;
  if (!detail) return;
  const closed = detail.state === "closed";
  $("#act-form").hidden = closed || unanswered(detail);
  $("#close-form").hidden = closed;
  options($("#act"), detail.actions);
  options($("#outcome"), detail.outcomes);
  drawChatActions();
  drawClose(detail);
}

const word = (each) => (typeof each === "string" ? [each, capital(each.replaceAll("_", " "))] : [each.id ?? each.key ?? each.value ?? each.name, each.label ?? each.words ?? each.name ?? each.id]);

function options(select, list) {
  const wanted = JSON.stringify(list ?? []);
  if (select.dataset.list === wanted) return;
  select.dataset.list = wanted;
  const chosen = select.value;
  select.replaceChildren(el("option", { value: "", text: "Choose one" }), ...(list ?? []).map(word).map(([value, text]) => el("option", { value, text })));
  select.value = [...select.options].some((option) => option.value === chosen) ? chosen : "";
}

function drawChatActions() {
  const detail = open?.kind === "case" ? open.detail : null;
  if (!detail) return;
  const state = detail.conversation ? detail.conversation_state : "none";
  const living = state !== "ended" && state !== "none" && Boolean(state);
  const joined = inChat(detail) || detail.joined;
  $("#join").hidden = !living || (detail.state === "closed" && !joined);
  set($("#join-words"), joined ? "Back to the chat" : "Join the chat");
  $("#join").classList.toggle("btn--primary", !unanswered(detail) && detail.state !== "closed");
  $("#pause").hidden = !living || state === "paused";
  $("#resume").hidden = state !== "paused";
  $("#end").hidden = !living;
  const text = $("#chat-words");
  text.hidden = living;
  set(text, state === "none" ? "This was not raised in a chat." : "The chat has ended.");
}

function drawClose(detail) {
  const immediate = detail.risk === "immediate";
  const proposed = detail.close_proposed;
  const mine = proposed && (proposed.mine ?? proposed.by === ME);
  const label = proposed ? (detail.outcomes ?? []).map(word).find(([value]) => value === proposed.outcome)?.[1] ?? capital(String(proposed.outcome).replaceAll("_", " ")) : "";
  $("#proposed").hidden = !proposed;
  if (proposed) set($("#proposed-words"), mine ? `You proposed to close it: ${label}. ${proposed.rationale} Another adult has to agree.` : `${proposed.by} proposes to close it: ${label}. ${proposed.rationale}`);
  $("#agree").hidden = !proposed || mine;
  set($("#close-button"), immediate ? (proposed && !mine ? "Propose another outcome" : "Send to another adult to agree") : "Close this case");
  set($("#close-words"), immediate ? "An immediate case needs a second adult: it stays open until another one agrees." : "It stays in the record with your name and your reason.");
  const blocked = unanswered(detail);
  $("#close-form").hidden = detail.state === "closed" || blocked;
}

async function send(path, body, button) {
  const mine = open;
  try {
    const answer = await busy(button, () => api("POST", `/api/alerts/${encodeURIComponent(mine.id)}/${path}`, body));
    if (open === mine) problem($("#case-problem"), "");
    refreshAlerts();
    if (path === "close") await reloadCase();
    else refreshCase(); // with the frame that tells of the same change: one reading, not two
    return answer ?? {};
  } catch (error) {
    return { error };
  }
}

function trouble(error) {
  problem($("#case-problem"), words(error));
  if (narrow()) choosePart("main");
  $("#case-problem").focus();
}

$("#take-button").addEventListener("click", (event) => busy(event.currentTarget, async () => {
  const why = await acknowledge(open.id);
  if (!why) return;
  problem($("#case-problem"), why);
  $("#case-problem").focus();
}));

$("#now").addEventListener("click", (event) => {
  const what = event.target.closest("[data-do]")?.dataset.do;
  if (what === "join") join();
  if (what === "read") {
    $("#excerpt-h").focus({ preventScroll: true });
    $("#excerpt-section").scrollIntoView({ block: "start" });
  }
  if (what === "act") {
    if (narrow()) choosePart("actions");
    $("#act-form").scrollIntoView({ block: "nearest" });
    $("#act").focus();
  }
});

$("#join").addEventListener("click", (event) => busy(event.currentTarget, join));

async function chatDo(what) {
  const mine = open;
  const id = mine.detail.conversation;
  try {
    await api("POST", `/api/conversations/${encodeURIComponent(id)}/${what}`, {});
  } catch (error) {
    trouble(error);
    return;
  }
  if (open !== mine) return;
  mine.detail.conversation_state = { pause: "paused", resume: "open", end: "ended" }[what];
  drawChatActions();
  toast({ pause: "The chat is paused", resume: "The chat goes on", end: "The chat has ended" }[what]);
  refreshCase();
}

$("#pause").addEventListener("click", (event) => busy(event.currentTarget, () => chatDo("pause")).then(() => $("#resume").hidden || $("#resume").focus()));
$("#resume").addEventListener("click", (event) => busy(event.currentTarget, () => chatDo("resume")).then(() => $("#pause").hidden || $("#pause").focus()));
$("#end").addEventListener("click", (event) => busy(event.currentTarget, async () => {
  if (await confirmed({ title: "End this chat?", text: "Both are told that it has ended. They can’t write in it any more.", yes: "End the chat" })) await chatDo("end");
}));

$("#act-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const action = $("#act").value;
  if (wrong("act", !action)) {
    $("#act").focus();
    return;
  }
  const answer = await send("act", { action, note: $("#act-note").value.trim() }, $("#act-button"));
  if (answer.error) {
    trouble(answer.error);
    return;
  }
  $("#act").value = "";
  $("#act-note").value = "";
  toast("It’s in the record");
});

$("#note-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("#note").value.trim();
  if (wrong("note", !text)) {
    $("#note").focus();
    return;
  }
  const answer = await send("note", { text }, $("#note-button"));
  if (answer.error) {
    trouble(answer.error);
    return;
  }
  $("#note").value = "";
  toast("Note saved");
});

function closeTrouble(text) {
  $("#close-error").hidden = !text;
  set($("#close-error-words"), text);
}

async function closeCase(outcome, rationale, button) {
  closeTrouble("");
  const id = open.id;
  const answer = await send("close", { outcome, rationale, version: open.detail.version }, button);
  if (answer.error) {
    closeTrouble(words(answer.error));
    if (answer.error.status === 409) await reloadCase();
    return;
  }
  if (open?.id !== id) return;
  if (open.detail.state === "closed") {
    drafts.delete(id);
    for (const field of ["#outcome", "#rationale"]) $(field).value = "";
    toast("Closed, and kept in the record");
    if (narrow()) choosePart("main");
    $("#case-title").tabIndex = -1;
    $("#case-title").focus();
  } else say("Sent. It stays open until another adult agrees.");
}

$("#close-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const outcome = $("#outcome").value;
  const rationale = $("#rationale").value.trim();
  const missing = [wrong("outcome", !outcome) && "#outcome", wrong("rationale", !rationale) && "#rationale"].filter(Boolean);
  if (missing.length) {
    $(missing[0]).focus();
    return;
  }
  closeCase(outcome, rationale, $("#close-button"));
});

$("#agree").addEventListener("click", () => {
  const { outcome, rationale } = open.detail.close_proposed;
  closeCase(outcome, rationale, $("#agree"));
});

for (const [id, event] of [["act", "change"], ["note", "input"], ["outcome", "change"], ["rationale", "input"]]) $(`#${id}`).addEventListener(event, () => wrong(id, false));

// ---------------------------------------------------------------------------- what was typed

const FIELDS = ["note", "act", "act-note", "outcome", "rationale"];

function keepDraft() {
  if (open?.kind !== "case" || !open.detail) return;
  drafts.set(open.id, Object.fromEntries(FIELDS.map((id) => [id, $(`#${id}`).value])));
}

function restoreDraft() {
  const draft = drafts.get(open.id) ?? {};
  for (const id of FIELDS) {
    $(`#${id}`).value = draft[id] ?? "";
    if (["note", "act", "outcome", "rationale"].includes(id)) wrong(id, false);
  }
  $("#more-reason").value = "";
  $("#more-other").value = "";
  $("#more-other-field").hidden = true;
  wrong("more-reason", false);
  closeTrouble("");
  problem($("#case-problem"), "");
}

// ---------------------------------------------------------------------------- begin

lineState(line, { onopen: () => {
  ready("#ready-line", true, "Connected");
  refreshAll();
} });
line.on("state", ({ state }) => {
  if (state === "waiting" || state === "away") ready("#ready-line", false, state === "away" ? "Not connected" : "Not connected. Trying again");
  drawHome();
});
line.on("away", ({ code }) => {
  if (code !== 4100 && code !== 4101) return; // else the lists are still asked for, and an alarm goes on
  alerts = [];
  review = [];
  overview = null;
  drafts.clear();
  drawAlarms();
  goHome(); // signed out: nothing of anybody stays on the screen
  $("#duty-on").hidden = true;
  $("#alerts-none").hidden = true; // nor anything that this page can't know
  set($("#home-title"), "You’re signed out");
  set($("#home-words"), "Sign in again to see your duty and the alerts.");
});

addEventListener("pagehide", () => {
  for (const card of cards) card.drop();
});

let polled = Date.now();
everySecond((now) => {
  alarm.tick(now);
  for (const alert of ringing()) alarmNodes.get(alert.id)?.tick(alert);
  tickNow();
  if (now - polled > POLL_MS) {
    polled = now;
    refreshAll();
  }
});

drawDuty();
refreshAll();
line.open();
