// The coordinator's rota: what comes, the weekly pattern, exceptions. It says where nobody is down for duty.

import { $, $$, api, busy, el, meta, notice, say } from "./dom.js";
import { badge, everySecond, problem, signOut, words } from "./staff.js";
import { clock, day, listed, moment } from "./staff_words.js";

const POLL_MS = 60_000;
const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const KIND = { away: "Away", extra: "Stands in", holiday: "School closed" };
const TIMES = [
  ["immediate_minutes", "Immediate alert: minutes until more adults are told"],
  ["immediate_repeat_minutes", "Immediate alert: then again every, in minutes"],
  ["high_minutes", "High alert: minutes until more adults are told"],
  ["high_repeat_minutes", "High alert: then again every, in minutes"],
  ["acknowledgement_minutes", "An alert that was taken on goes back without a step after, in minutes"],
  ["digest_at", "Concerns are told at the end of the school day, at"],
  ["morning_at", "Concerns nobody read climb the next morning, from"],
  ["page_lease_seconds", "A page that is lost holds duty for, in seconds"],
  ["phone_minutes", "A press on a phone holds duty for, in minutes"],
  ["closing_warning_minutes", "Everybody is warned before closing time, minutes"],
];

document.title = `Rota – ${meta("service-name")}`;

let rota = null;

async function load() {
  try {
    draw(await api("GET", "/api/rota"));
    problem($("#page-problem"), "");
  } catch (error) {
    problem($("#page-problem"), words(error));
  }
}

function draw(found) {
  rota = found;
  $("#rota-words").textContent = `Opening hours: ${rota.hours_text}. Times are those of the clock in ${rota.timezone.split("/").at(-1).replaceAll("_", " ")}.`;
  drawProblems();
  fill($("#coming-list"), rota.coming, (each) => [grow(`${each.name}${each.part === "deputy" ? ", deputy" : ""}`), soft(`${moment(each.begin)} to ${clock(each.end)}`)], "Nobody is down for the next two weeks.");
  fill($("#turns"), rota.turns, (each) => [grow(each.name), each.part === "deputy" ? badge("Deputy") : null, soft(`${each.days.map((n) => DAYS[n]).join(", ")}, ${each.begin} to ${each.end}${dates(each)}`), remove(each, `${each.name}, ${each.begin}`)], "No turns yet.");
  fill($("#changes-list"), rota.changes, (each) => [badge(KIND[each.kind], each.kind === "away" ? "badge--warn" : ""), grow(each.name ?? "Everybody"), soft(`${days(each)}${each.begin ? `, ${each.begin} to ${each.end}` : ""}`), remove(each, `${KIND[each.kind]}, ${days(each)}`)], "No exceptions.");
  for (const select of [$("#turn-member"), $("#change-member")]) {
    const chosen = select.value;
    select.replaceChildren(...rota.adults.map((each) => el("option", { value: each.id, text: each.name })));
    if (rota.adults.some((each) => each.id === chosen)) select.value = chosen;
  }
  const preset = rota.independents.map((each) => `${each.name}${each.outside ? " (from outside)" : ""}`);
  $("#times-rows").replaceChildren(...TIMES.map(([key, what]) => fact(what, [rota.times[key]].flat().join(", "))), fact("Alerts about staff go first to", preset.length ? preset.join(", then ") : "nobody is preset: all other adults"));
}

function drawProblems() {
  const list = [];
  if (rota.missing.length) list.push(notice({ tone: "warn", icon: "warn", level: 2, title: `${listed(rota.missing)} ${rota.missing.length === 1 ? "is" : "are"} down for duty and not there`, text: "A rota puts nobody on duty. Ask them to open their page and start." }));
  if (rota.gap) list.push(notice({ tone: "warn", icon: "clock", level: 2, title: "Nobody is down for some of the opening hours", text: `The next gap is ${moment(rota.gap.begin)} to ${moment(rota.gap.end)}. With nobody on duty, nobody can chat then.` }));
  if (!rota.independents.length) list.push(notice({ tone: "warn", icon: "people", level: 2, title: "Nobody is preset for alerts about staff", text: "Until somebody is, such an alert goes to all adults but the one it is about. Ask whoever runs the server to set it." }));
  const sign = list.map((each) => each.textContent).join("|");
  const box = $("#rota-problems");
  if (box.dataset.sign === sign) return;
  box.dataset.sign = sign;
  box.replaceChildren(...list);
}

const grow = (text) => el("span", { class: "grow", text });
const soft = (text) => el("span", { class: "small soft num", text });
const fact = (what, value) => el("tr", {}, el("th", { scope: "row", text: what }), el("td", { class: "num", text: String(value) }));
const days = ({ first, last }) => (first === last ? day(`${first}T12:00`) : `${day(`${first}T12:00`)} to ${day(`${last}T12:00`)}`);
const dates = ({ first, last }) => `${first ? `, from ${day(`${first}T12:00`)}` : ""}${last ? `, until ${day(`${last}T12:00`)}` : ""}`;

function fill(list, items, row, none) {
  const focused = list.contains(document.activeElement);
  list.replaceChildren(...(items.length ? items.map((each) => el("li", {}, ...row(each).filter(Boolean))) : [el("li", {}, el("span", { class: "soft", text: none }))]));
  if (focused) ($("button", list) ?? $("#main")).focus();
}

function remove(each, what) {
  const button = el("button", { class: "btn btn--slim btn--quiet", type: "button", text: "Remove", "aria-label": `Remove: ${what}`, onclick: () => busy(button, async () => {
    try {
      draw(await api("DELETE", `/api/rota/${encodeURIComponent(each.id)}`));
      say("Removed.");
    } catch (error) {
      problem($("#page-problem"), words(error));
      $("#page-problem").focus();
    }
  }) });
  return button;
}

/** Send a form's row; say at the form what is wrong with it. */
async function add(name, row) {
  const trouble = (text) => {
    $(`#${name}-error`).hidden = !text;
    $(`#${name}-error-words`).textContent = text;
  };
  trouble("");
  try {
    draw(await api("POST", "/api/rota", Object.fromEntries(Object.entries(row).filter(([, value]) => value !== "" && value !== null))));
    say("Added.");
    return true;
  } catch (error) {
    trouble(words(error));
    return false;
  }
}

$("#add-turn").addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("#turn-button"), () => add("turn", {
    member: $("#turn-member").value,
    part: $("#turn-part").value,
    days: $$("#turn-days input:checked").map((each) => Number(each.value)),
    begin: $("#turn-begin").value,
    end: $("#turn-end").value,
    first: $("#turn-first").value,
    last: $("#turn-last").value,
  }));
});

function drawChangeForm() {
  const closed = $("#change-kind").value === "holiday";
  for (const id of ["#change-member-field", "#change-begin-field", "#change-end-field"]) $(id).hidden = closed;
}
$("#change-kind").addEventListener("change", drawChangeForm);
$("#add-change").addEventListener("submit", (event) => {
  event.preventDefault();
  const closed = $("#change-kind").value === "holiday";
  busy($("#change-button"), () => add("change", {
    kind: $("#change-kind").value,
    member: closed ? null : $("#change-member").value,
    first: $("#change-first").value,
    last: $("#change-last").value,
    begin: closed ? null : $("#change-begin").value,
    end: closed ? null : $("#change-end").value,
  }));
});

signOut($("#sign-out"));
drawChangeForm();
let polled = Date.now();
everySecond((now) => {
  if (now - polled <= POLL_MS) return;
  polled = now;
  load();
});
load();
