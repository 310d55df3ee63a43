// The coordinator's section on ways beyond the page: who is told by what, whether it works, a try, add, remove.

import { $, api, busy, el, notice } from "./dom.js";
import { badge, confirmed, words } from "./staff.js";
import { moment } from "./staff_words.js";

const HOW = { email: "Email", sms: "Text message", chat: "Chat message", voice: "Call or pager", push: "Browser", webhook: "Webhook" };
const WHEN = { on_duty: "on duty, and with all adults", deputies: "as the deputy", all_adults: "with all adults", out_of_band: "last of all" };
const TO = { email: "Email address", sms: "Phone number", voice: "Phone number" };
const SOMEBODY = "-";

const said = (text) => {
  $("#channels-said").textContent = text;
};

async function load() {
  let found;
  try {
    found = await api("GET", "/api/channels");
  } catch (error) {
    $("#channels-problems").replaceChildren(notice({ tone: "warn", icon: "warn", text: words(error) }));
    return;
  }
  $("#channels-problems").replaceChildren(...found.missing.map((each) => notice({ tone: each.what === "no_push" ? "plain" : "warn", icon: "warn", text: each.words })));
  $("#channels-none").hidden = found.items.length > 0;
  $("#channels-rows").replaceChildren(...found.items.map(row));
  choices(found);
}

function row(each) {
  const heard = each.failing ? [badge("Not working", "badge--danger"), ` ${each.fault ?? ""}${each.failed_at ? `, ${moment(each.failed_at)}` : ""}`] : each.ok_at ? [`worked ${moment(each.ok_at)}`] : ["not tried yet"];
  const name = `${HOW[each.kind] ?? each.kind}, ${each.who}`;
  return el("tr", {},
    el("th", { scope: "row", text: each.who }),
    el("td", {}, `${HOW[each.kind] ?? each.kind} `, el("span", { class: "small soft", text: each.to })),
    el("td", { text: WHEN[each.from] ?? each.from }),
    el("td", { class: "small" }, ...heard),
    el("td", { class: "row row--tight" },
      el("button", { class: "btn btn--slim", type: "button", text: "Try", "aria-label": `Try ${name}`, onclick: (event) => busy(event.currentTarget, () => tried(each)) }),
      el("button", { class: "btn btn--slim btn--quiet", type: "button", text: "Remove", "aria-label": `Remove ${name}`, onclick: () => removed(each) })));
}

async function tried(each) {
  said("Sending.");
  let outcome;
  try {
    outcome = await api("POST", `/api/channels/${each.id}/try`);
  } catch (error) {
    said(words(error));
    return;
  }
  await load();
  said(outcome.ok ? `It went out to ${each.who}. Ask whether it arrived.` : `It did not go out: ${outcome.fault}.`);
}

async function removed(each) {
  if (!(await confirmed({ title: "Remove this way?", text: `${each.who} will no longer be told by ${(HOW[each.kind] ?? each.kind).toLowerCase()}.`, yes: "Remove it" }))) return;
  try {
    await api("DELETE", `/api/channels/${each.id}`);
  } catch (error) {
    said(words(error));
    return;
  }
  await load();
  said("Removed.");
}

function choices({ adults, kinds }) {
  const filled = (select, options) => {
    const now = select.value;
    select.replaceChildren(...options.map(([value, text]) => el("option", { value, text })));
    if (options.some(([value]) => value === now)) select.value = now;
  };
  const plain = kinds.filter((kind) => TO[kind]);
  filled($("#channels-who"), [...adults.map((each) => [each.id, each.name]), [SOMEBODY, "somebody without an account"]]);
  filled($("#channels-kind"), plain.map((kind) => [kind, HOW[kind]]));
  $("#channels-no-kinds").hidden = plain.length > 0;
  $("#channels-form").hidden = !plain.length;
  labels();
}

function labels() {
  $("#channels-to-label").textContent = TO[$("#channels-kind").value] ?? "Address";
  $("#channels-name-field").hidden = $("#channels-who").value !== SOMEBODY;
}

async function add() {
  const somebody = $("#channels-who").value === SOMEBODY;
  const wanted = { kind: $("#channels-kind").value, to: $("#channels-to").value.trim(), from: $("#channels-from").value };
  if (somebody) wanted.name = $("#channels-name").value.trim();
  else wanted.member = $("#channels-who").value;
  if (!wanted.to || (somebody && !wanted.name)) {
    said("Fill in every field.");
    (somebody && !wanted.name ? $("#channels-name") : $("#channels-to")).focus();
    return;
  }
  try {
    await api("POST", "/api/channels", wanted);
  } catch (error) {
    said(words(error));
    $("#channels-to").focus();
    return;
  }
  $("#channels-to").value = "";
  await load();
  said("Added. Try it now, so that you know it works.");
}

for (const id of ["#channels-who", "#channels-kind"]) $(id).addEventListener("change", labels);
$("#channels-form").addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("#channels-add"), add);
});
$("#refresh").addEventListener("click", load);
load();
