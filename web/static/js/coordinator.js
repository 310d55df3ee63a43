// The coordinator's page: what is true just now, the numbers, the log. It reads and changes nothing.

import { $, $$, api, busy, el, meta, notice, say } from "./dom.js";
import { Line } from "./line.js";
import { loadDrills } from "./staff_drills.js";
import { badge, everySecond, lineState, signOut, words } from "./staff.js";
import { capital, clock, count, day, listed, moment, roleWord, span } from "./staff_words.js";

const POLL_MS = 20_000;
const line = new Line();
const MENTOR = { on: ["On shift", "badge--calm"], break: ["On a break", "badge--warn"], off: ["Not on shift", ""] };
const WHY = {
  no_adult_on_duty: "No adult is on duty. Nobody can start a chat, and open chats wait.",
  outside_hours: "Outside opening hours.",
  closed_by_staff: "A member of staff has closed it.",
};

document.title = `Just now – ${meta("service-name")}`;

// ---------------------------------------------------------------------------- just now

let first = true;

async function loadOverview() {
  if (first) setTimeout(() => {
    $("#loading").hidden = !first;
  }, 300);
  let now;
  try {
    now = await api("GET", "/api/overview");
  } catch (error) {
    $("#as-of").textContent = words(error);
    return false;
  }
  first = false;
  $("#loading").hidden = true;
  $("#as-of").textContent = `As it was at ${clock(new Date(), true)}. It looks again by itself.`;
  drawSite(now);
  drawProblems(now);
  drawCards(now);
  rows($("#duty"), now.on_duty, (each) => [dot(), grow(each.role ? `${each.name}, ${each.role === "adult" ? "on-site adult" : roleWord(each.role).toLowerCase()}` : each.name), each.until ? soft(`renewed to ${clock(each.until)}`) : null], "Nobody is on duty");
  rows($("#health"), now.health, (each) => [dot(each.ok ? "" : "dot--danger"), grow(capital(each.what)), soft(each.ok ? each.words || "Works" : each.words || "Doesn’t work")], "Nothing is watched");
  drawMentors(now.mentors ?? []);
  return true;
}

const dot = (more = "") => el("span", { class: `dot ${more}`.trim() });
const grow = (text) => el("span", { class: "grow", text });
const soft = (text) => el("span", { class: "small soft num", text });

function rows(list, items, draw, none) {
  list.replaceChildren(...((items ?? []).length ? items.map((each) => el("li", {}, ...draw(each).filter(Boolean))) : [el("li", {}, dot("dot--off"), el("span", { text: none }))]));
}

const adults = (onDuty) => (onDuty ?? []).filter((each) => (each.role ?? "adult") === "adult");

function drawSite({ site, on_duty: onDuty }) {
  const names = listed(adults(onDuty).map((each) => each.name));
  $("#site-dot").className = `dot ${site.open ? "" : "dot--off"}`.trim();
  const text = site.open ? `Open${names ? `, ${names} on duty` : ""}` : "Closed just now";
  if ($("#site-words").textContent !== text) $("#site-words").textContent = text;
}

function drawProblems({ site, on_duty: onDuty, health, review, alerts, rota }) {
  const list = [];
  if (!site.open) list.push(notice({ tone: site.why === "outside_hours" ? "plain" : "warn", icon: site.why === "outside_hours" ? "clock" : "warn", level: 2, title: "Closed just now", text: WHY[site.why] ?? capital(String(site.why ?? "")) }));
  else if (!adults(onDuty).length) list.push(notice({ tone: "warn", icon: "warn", level: 2, title: "Nobody is on duty", text: WHY.no_adult_on_duty }));
  for (const each of health ?? []) if (!each.ok) list.push(notice({ tone: "danger", icon: "warn", level: 2, title: `${capital(each.what)} isn’t working`, text: each.words ?? "" }));
  if ((review?.oldest_s ?? 0) > 600) list.push(notice({ tone: "warn", icon: "clock", level: 2, title: "Something has waited long", text: `The oldest item to review has waited ${span(review.oldest_s)}.` }));
  const unanswered = (alerts?.by_state?.open ?? 0) + (alerts?.by_state?.notifying ?? 0);
  if (unanswered) list.push(notice({ tone: "warn", icon: "bell", level: 2, title: `${count(unanswered, "alert")} with nobody on ${unanswered === 1 ? "it" : "them"} yet`, text: "The adults are being told until one of them takes it." }));
  if (rota?.missing?.length) list.push(notice({ tone: "warn", icon: "clock", level: 2, title: `${listed(rota.missing)} ${rota.missing.length === 1 ? "is" : "are"} down for duty and not there`, text: "The rota has them just now. Ask them to open their page and start." }));
  if (rota?.gap) list.push(notice({ tone: "warn", icon: "clock", level: 2, title: "A gap in the rota", text: `Nobody is down for duty from ${moment(rota.gap.begin)}, though it is open then.` }));
  if (rota && !rota.independent) list.push(notice({ tone: "warn", icon: "people", level: 2, title: "Nobody is preset for alerts about staff", text: "Until somebody is, such an alert goes to all adults but the one it is about. Ask whoever runs the server to set it." }));
  const sign = list.map((each) => each.textContent).join("|");
  const box = $("#problems");
  if (box.dataset.sign === sign) return;
  box.dataset.sign = sign;
  box.replaceChildren(...list);
}

function card(name, value, more) {
  return el("div", { class: "card stat" }, el("span", { class: "soft small", text: name }), el("b", { text: String(value) }), el("span", { class: "small soft", text: more }));
}

const STATE = { open: "new", notifying: "being told", acknowledged: "taken on", in_hand: "in hand", closed: "closed" };

function drawCards({ waiting, chats, review, alerts, mentors }) {
  const on = (mentors ?? []).filter((each) => each.state === "on");
  const room = on.reduce((sum, each) => sum + Math.max(0, (each.capacity ?? 0) - (each.chats ?? 0)), 0);
  const states = Object.entries(alerts?.by_state ?? {}).filter(([state, n]) => n && state !== "closed").map(([state, n]) => `${n} ${STATE[state] ?? state}`);
  $("#cards").replaceChildren(
    card("Pupils waiting", waiting ?? 0, on.length ? `room for ${count(room, "more chat")}` : "no supporter is on shift"),
    card("Chats open", chats?.open ?? 0, chats?.paused ? `${chats.paused} paused` : "none paused"),
    card("To review", review?.open ?? 0, review?.open ? [review.oldest_s === null || review.oldest_s === undefined ? "" : `oldest ${span(review.oldest_s)}`, review.held ? `${count(review.held, "held text")}` : ""].filter(Boolean).join(", ") : "nothing waits"),
    card("Alerts open", alerts?.open ?? 0, states.join(", ") || "none"),
  );
}

function drawMentors(mentors) {
  $("#mentors-none").hidden = mentors.length > 0;
  const rank = { on: 0, break: 1, off: 2 };
  const today = new Date();
  $("#mentors").replaceChildren(...[...mentors].sort((a, b) => (rank[a.state] ?? 3) - (rank[b.state] ?? 3) || a.name.localeCompare(b.name)).map((each) => {
    const [word, look] = MENTOR[each.state] ?? [capital(each.state), ""];
    const over = each.training_until && new Date(each.training_until) < today;
    return el("tr", {}, el("th", { scope: "row", text: each.name }), el("td", {}, badge(word, look)),
      el("td", { class: "r", text: each.state === "off" ? "–" : `${each.chats ?? 0} of ${each.capacity ?? 0}` }),
      el("td", {}, each.training_until ? `${day(each.training_until)} ` : el("span", { class: "softer", text: "not yet" }), over ? badge("Refresher due", "badge--warn") : null));
  }));
}

// ---------------------------------------------------------------------------- numbers

const iso = (date) => `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;

function lastDays(days) {
  const to = new Date();
  $("#to").value = iso(to);
  $("#from").value = iso(new Date(to.getFullYear(), to.getMonth(), to.getDate() - days + 1));
}

function rangeTrouble(text) {
  $("#range-error").hidden = !text;
  $("#range-error-words").textContent = text;
}

async function loadStatistics() {
  const [from, to] = [$("#from").value, $("#to").value];
  rangeTrouble("");
  if (!from || !to || from > to) {
    rangeTrouble(!from || !to ? "Choose both days." : "The first day has to come before the last.");
    (from && !to ? $("#to") : $("#from")).focus();
    return;
  }
  let answer;
  try {
    answer = await api("GET", `/api/statistics?from=${from}&to=${to}`);
  } catch (error) {
    rangeTrouble(words(error));
    return;
  }
  const items = answer.items ?? [];
  $("#numbers-caption").textContent = `${day(`${from}T12:00`)} to ${day(`${to}T12:00`)}`;
  $("#statistics").replaceChildren(...(items.length ? items.map((each) => el("tr", {}, el("th", { scope: "row", text: each.label }),
    el("td", { class: each.value === null ? "r softer" : "r", text: each.value === null ? "too few" : shown(each) }), el("td", { class: "small soft", text: each.how ?? "" }))) : [el("tr", {}, el("td", { colspan: "3", text: "Nothing was counted in these days." }))]));
}

const shown = ({ value, unit }) => `${typeof value === "number" ? value.toLocaleString("en-GB", { maximumFractionDigits: 1 }) : value}${unit ? ` ${unit}` : ""}`;

$("#range").addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("#range-button"), loadStatistics);
});
for (const button of $$("#range [data-days]")) button.addEventListener("click", () => {
  lastDays(Number(button.dataset.days));
  busy(button, loadStatistics);
});

// ---------------------------------------------------------------------------- the log

async function loadAudit() {
  let audit;
  try {
    audit = await api("GET", "/api/audit");
  } catch (error) {
    $("#verified").replaceChildren(notice({ tone: "warn", icon: "warn", text: words(error) }));
    return;
  }
  const total = Number(audit.rows ?? 0).toLocaleString("en-GB");
  const head = el("p", { class: "small" }, "Write this down somewhere else and nobody can change the log unseen: ", el("span", { class: "mono head", text: audit.head ?? "" }));
  $("#verified").replaceChildren(audit.verified
    ? notice({ icon: "tick", title: "The log is whole", text: `All ${total} rows were checked just now, and each fits the one before.`, children: audit.head ? [head] : [] })
    : notice({ tone: "danger", icon: "warn", title: "The log does not check out", text: "A row was changed or is missing. Leave the server as it is, and ask whoever looks after it to run the check offline." }));
  if (audit.checkpoints) drawPlaces(audit.checkpoints);
  $("#audit").replaceChildren(...(audit.items ?? []).map((each) => el("tr", {}, el("td", { class: "r", text: String(each.n) }), el("td", { class: "num nowrap", text: moment(each.at) }), el("td", { text: each.actor === meta("member") ? "You" : capital(each.who) }), el("td", { text: capital(each.words) }), el("td", { class: "mono small", text: each.object ?? "" }))));
}

function drawPlaces({ n, at, places }) {
  const none = [el("li", {}, dot("dot--off"), el("span", { text: "No signed copy of its head leaves this machine. Whoever runs the server can set that up." }))];
  const rowsOf = (places ?? []).map((each) => el("li", {}, dot(each.failing_since ? "dot--danger" : ""), grow(`To ${each.words}`), soft(each.failing_since ? `not since ${moment(each.failing_since)}` : each.at ? `up to row ${each.n}, ${moment(each.at)}` : "nothing yet")));
  $("#log-places").replaceChildren(...(rowsOf.length ? rowsOf : none), ...(n ? [el("li", {}, dot(), grow(`Signed up to row ${n}`), soft(moment(at)))] : []));
}

// ---------------------------------------------------------------------------- begin

$("#refresh").addEventListener("click", (event) => busy(event.currentTarget, async () => {
  const [ok] = await Promise.all([loadOverview(), loadStatistics(), loadAudit(), loadDrills()]);
  say(ok ? "Everything here is from just now." : "We can’t reach the server just now.");
}));
signOut($("#sign-out"));
line.on("site", loadOverview);
lineState(line, { onopen: loadOverview });
let polled = Date.now();
everySecond((now) => {
  if (now - polled < POLL_MS || document.visibilityState !== "visible") return;
  polled = now;
  loadOverview();
  loadDrills();
});
lastDays(28);
loadOverview();
loadStatistics();
loadAudit();
loadDrills();
line.open();
