// The pupil's page: ask, wait, chat, help, afterwards, closed. What is on the screen always follows from what the
// server said last; nothing is kept in storage, so leaving takes everything along.

import { $, $$, aboutMinutes, api, busy, clock, el, icon, notice, openDialog, place, serviceList, show, switches, toast, tone } from "./dom.js";
import { Line } from "./line.js";
import { Composer, ThreadView, Threads } from "./thread.js";
import { closedWords, endedWords, eventNote, helpWords, ownNote, supportCard } from "./words.js";

const line = new Line();
let site = null;
line.on("welcome", (frame) => {
  site = frame.site; // before anything is drawn from it
});
const threads = new Threads(line);

let view = ""; // the view that is shown
let thread = null; // the conversation on the screen
let drawn = null; // its ThreadView
let pressed = false; // somebody here pressed for an adult
let asked = null; // the last `ask`, to ask again after a lost line
let waitingSeen = 0;
let helpful = null;
let leaving = false; // it was this page that ended it

// ---------------------------------------------------------------------------- views

function go(name, { focus = true } = {}) {
  if (view === name) return;
  view = name;
  show(name, { focus });
  const chat = name === "chat";
  $("#brand").hidden = chat;
  $("#who").hidden = !chat;
  $("#who-icon").hidden = !chat;
  for (const choice of $$("[data-in-chat]")) choice.hidden = !(chat && thread?.open);
}

// Where the server's words leave us, when no conversation is open.
function home() {
  if (site && !site.open) showClosed();
  else go("ask");
}

function showClosed() {
  const words = closedWords(site);
  $('[data-view="closed"] [data-h1]').dataset.h1 = words.title;
  $("#closed-lead").textContent = words.lead;
  $("#closed-lead").hidden = !words.lead;
  $("#closed-text").textContent = words.text;
  if (view === "closed") $("h1").textContent = words.title;
  go("closed");
}

// ---------------------------------------------------------------------------- the line

line.on("welcome", (frame) => {
  drawSite();
  const open = frame.conversations.length > 0;
  if (open) return; // Threads says "opened", or the chat is on the screen already
  if (view === "after") return;
  if (view === "chat") return; // it has ended meanwhile, and the thread says so
  if (frame.waiting) {
    go("waiting");
    if (!$("#wait-words").textContent) $("#wait-words").textContent = "You’re in line.";
  } else if (asked && view === "waiting") {
    ask(asked); // our place was lost with the line
  } else {
    home();
  }
});

line.on("site", (frame) => {
  site = { ...site, ...frame };
  drawSite();
  banners();
  if (view === "ask" || view === "closed" || view === "start") home();
  if (view === "waiting") waitNotice();
});

line.on("waiting", (frame) => {
  waitingSeen = Date.now();
  const where = frame.position > 0 ? `You’re ${frame.position === 1 ? "next" : place(frame.position)} in line.` : "";
  const words = $("#wait-words");
  if (frame.wait_s === null || frame.wait_s === undefined) words.replaceChildren(where || "You’re in line.");
  else {
    const about = aboutMinutes(frame.wait_s).replace(/^about /, "");
    words.replaceChildren(about.startsWith("less") ? "" : "About ", el("b", { text: about.startsWith("less") ? "Less than a minute" : about }), `. ${where}`);
  }
  $("#wait-source").textContent = frame.wait_s === null || frame.wait_s === undefined ? "We can’t say yet how long. You can stay on this page, or stop and come back." : "Our best guess. If it changes, we’ll say so here.";
  waitNotice();
  if (view !== "chat" && view !== "after") go("waiting");
});

line.on("state", ({ state }) => {
  if (state === "waiting" && view === "start") {
    $("#start-words").textContent = "We can’t reach the server just now. We’ll keep trying. If you need someone now:";
    $("#start-places").hidden = false;
  }
  banners();
  drawWho();
});

line.on("away", ({ code, text }) => {
  threads.all.clear();
  endChat();
  const slot = $('[data-view="away"] [data-h1]');
  slot.dataset.h1 = code === 4100 ? "You’re signed out" : code === 4102 ? "Open somewhere else" : "This page has stopped";
  $("#away-words").textContent = text;
  $("#away-in").textContent = code === 4102 || code === 4103 ? "Use it here" : "Go to sign-in";
  $("#away-in").href = code === 4102 || code === 4103 ? "/chat" : "/";
  for (const dialog of $$("dialog[open]")) dialog.close();
  go("away");
});

function waitNotice() {
  const closed = site && !site.open;
  const box = $("#wait-notice");
  const words = closed ? closedWords(site) : null;
  const key = closed ? site.why ?? "closed" : "";
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.replaceChildren(...(closed ? [notice({ tone: "warn", icon: "pause", role: "status", title: words.title, level: 2, text: site.why === "no_adult_on_duty" ? "No adult is on duty just now, and we don’t run without one. We go on as soon as one is back. You can wait, or come back later." : words.lead })] : []));
}

function drawSite() {
  const topics = $("#topics");
  if (!topics.childElementCount) {
    for (const topic of site.topics ?? []) topics.append(el("label", { class: "chip" }, el("input", { type: "checkbox", name: "topic", value: topic }), el("span", { text: topic })));
    $("#topics-field").hidden = !topics.childElementCount;
  }
  if (site.services?.length) for (const box of $$("[data-services]")) box.replaceChildren(serviceList(site.services));
  const duty = site.on_duty ?? [];
  $("[data-now]").textContent = duty.length ? "Tells the adult on duty at once" : "Goes at once to the next adult who can come";
  $("[data-duty]").textContent = duty.length ? `${names(duty)} ${duty.length === 1 ? "is" : "are"} on duty` : "No adult is on duty just now";
}

const names = (list) => (list.length > 1 ? `${list.slice(0, -1).join(", ")} and ${list.at(-1)}` : list[0] ?? "");

// ---------------------------------------------------------------------------- ask and wait

$("#ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const preferences = Object.fromEntries(["older", "other_year", "lived_experience", "again"].map((name) => [name, form.elements[name].checked]));
  const mood = form.querySelector('input[name="mood"]:checked')?.value;
  busy($("#find"), () => ask({ topics: $$('input[name="topic"]:checked', form).map((box) => box.value), preferences, ...(mood ? { mood: Number(mood) } : {}) }));
});
$("#skip").addEventListener("click", (event) => busy(event.currentTarget, () => ask({ topics: [], preferences: {} })));

async function ask(wishes) {
  asked = wishes;
  try {
    await line.request({ type: "ask", ...wishes });
  } catch (error) {
    asked = null;
    if (error.code === "closed" || error.code === "unavailable") {
      if (site?.open === false) showClosed();
      else toast("We can’t find anyone just now. Try again in a minute.", { icon: "info" });
    } else if (error.code === "rate_limited") toast("That was quick. Wait a moment, then press again.", { icon: "clock" });
    else if (error.code !== "conflict") toast("That didn’t work. Try again.", { icon: "warn" });
  }
}

$("#stop-waiting").addEventListener("click", (event) => busy(event.currentTarget, async () => {
  asked = null;
  await soon(line.request({ type: "cancel" }));
  if (view === "waiting") home();
}));

// What the page need not wait for long: the line keeps it and sends it when it can.
const soon = (promise) => Promise.race([promise.catch(() => {}), new Promise((resolve) => setTimeout(resolve, 2500))]);

const soundSwitch = $("#sound");
soundSwitch.addEventListener("change", () => {
  if (soundSwitch.checked) tone({ volume: 0.03 });
});

// ---------------------------------------------------------------------------- the chat

threads.on("opened", (opened, frame) => {
  asked = null;
  if (thread && thread !== opened && thread.open) return;
  startChat(opened);
  if (frame.type === "paired" && soundSwitch.checked) tone();
});

threads.on("changed", (changed, what, item) => {
  if (changed !== thread) return;
  if (item?.frame?.type === "support") { // it says the same, nearer to what was written
    const places = thread.items.find((other) => other.key === "places");
    if (places) thread.remove(places);
  }
  if (what !== "message") {
    drawWho();
    banners();
  }
  if (what === "state") drawFoot();
  if (what === "help" && thread.help) {
    receipt();
    const there = thread.items.some((item) => item.frame?.type === "support" || (item.frame?.type === "paused" && !item.over) || item.key === "places");
    if (!there && thread.help !== "here" && site?.services?.length) thread.add({ kind: "note", key: "places", node: supportCard({ title: "If you need someone meanwhile", services: site.services }) });
  }
});

function startChat(opened) {
  endChat();
  thread = opened;
  pressed = false;
  leaving = false;
  const partner = thread.partner?.alias ?? "Your supporter";
  $('[data-view="chat"] [data-h1]').dataset.h1 = `Chat with ${partner}`;
  const intro = notice({ icon: "lock", more: "system", children: [
    el("p", {}, "You’re talking to ", el("strong", { text: partner }), thread.partner?.role === "mentor" ? ", a trained older pupil. They can’t see your name." : ". They can’t see your name."),
    el("button", { class: "linkbtn", type: "button", text: "What stays private", onclick: privateSheet }),
  ] });
  drawn = new ThreadView(thread, {
    log: $("#log"),
    scroller: $("#scroller"),
    line,
    fresh: $("#fresh"),
    top: intro,
    after: (item) => ownNote(item, thread, { me: "pupil", change: changeIt, again: lookAgain }),
    event: (item) => eventNote(item, thread, { me: "pupil", pressed, services: site?.services ?? [], actions: { paused: pausedActions } }),
  });
  composer.clear();
  go("chat", { focus: false });
  drawWho();
  drawFoot();
  banners();
  for (const name of $$("[data-partner]")) name.textContent = partner;
  if (thread.open) $("#box").focus();
}

function endChat() {
  drawn?.destroy();
  drawn = null;
  thread = null;
  composer.clear();
  $("#help-receipt").replaceChildren();
}

function drawWho() {
  if (!thread) return;
  const others = thread.members.filter((who) => who.role !== "pupil");
  const several = others.length > 1;
  const dot = el("span", { class: thread.state === "open" && thread.present !== false && line.isOpen ? "dot" : "dot dot--off" });
  $("#who-name").textContent = several ? `${others.length + 1} people here` : thread.partner?.alias ?? "";
  $("#who-icon").replaceChildren(icon(several ? "people" : "person"));
  const words = !thread.open ? "Ended" : thread.state === "paused" ? "Paused" : several ? `You and ${others.length} more` : !line.isOpen ? "You’re offline" : thread.present === false ? "Not here just now" : "Here now";
  $("#who-state").replaceChildren(...(several && thread.state === "open" ? [] : [dot]), words);
}

function drawFoot() {
  const open = Boolean(thread?.open);
  $("#composer").hidden = !open;
  $("#ended-foot").hidden = open;
  if (!open) $("#changing").hidden = true;
  for (const choice of $$("[data-in-chat]")) choice.hidden = !(view === "chat" && open);
}

function banners() {
  const list = [];
  if (thread && view === "chat" && thread.open) {
    if (!line.isOpen && line.state !== "connecting") list.push(notice({ tone: "plain", icon: "offline", more: "small", children: [el("p", {}, el("strong", { text: "You’re offline." }), " What you write is kept here, and goes when you’re back.")] }));
    else if (thread.present === false && thread.state === "open" && line.isOpen) list.push(notice({ tone: "plain", icon: "person", more: "small", children: [el("p", {}, el("strong", { text: `${thread.partner?.alias ?? "The other person"} has lost their connection.` }), " We’re keeping your place.")] }));
    if (site?.closes_at && !thread.help) list.push(notice({ tone: "plain", icon: "clock", more: "small", children: [el("p", {}, el("strong", { text: `We close at ${clock(site.closes_at)}.` }), " The chat ends then. You can come back any day we’re open, and Help shows places that never close.")] }));
  }
  const box = $("#banners");
  const words = list.map((node) => node.textContent).join();
  if (box.dataset.words === words) return;
  box.dataset.words = words;
  box.replaceChildren(...list);
}

const composer = new Composer({
  box: $("#box"),
  button: $("#send"),
  changing: $("#changing"),
  send(text) {
    if (!thread?.open) return false;
    thread.post(text);
    return true;
  },
  typing: () => thread && line.tell({ type: "typing", conversation: thread.id }),
  problem(text) {
    const box = $("#box-problem");
    box.textContent = text;
    box.hidden = !text;
  },
});

function changeIt(item) {
  composer.change(item.text);
}

async function lookAgain(item) {
  try {
    await line.request({ type: "second_look", message: item.message });
    thread.heldAgain(item);
  } catch (error) {
    toast(error.code === "forbidden" ? "An adult has decided about this one." : "That didn’t go through. Try again.", { icon: "info" });
  }
}

function pausedActions() {
  return el("div", { class: "row" },
    el("button", { class: "btn grow", type: "button", text: "Wait here", onclick: () => $("#box").focus() }),
    el("button", { class: "btn btn--quiet grow", type: "button", text: "Come back later", onclick: (event) => busy(event.currentTarget, signOut) }));
}

function privateSheet() {
  const sheet = el("dialog", { class: "dialog stack", "aria-label": "What stays private" },
    el("h2", { text: "What stays private" }),
    $(".rules").cloneNode(true),
    thread?.notice ? el("p", { class: "small soft", text: thread.notice }) : null,
    el("form", { method: "dialog", class: "row" }, $("[data-leave]").cloneNode(true), el("button", { class: "btn grow", text: "Close" })));
  document.body.append(sheet);
  openDialog(sheet).then(() => sheet.remove());
}

// ---------------------------------------------------------------------------- help

const help = $("#help");

for (const button of $$("[data-help]")) {
  button.addEventListener("click", () => {
    step("choose");
    receipt();
    openDialog(help);
  });
}
for (const button of $$("dialog [data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
for (const button of $$("[data-step-to]", help)) button.addEventListener("click", () => step(button.dataset.stepTo));

function step(name) {
  for (const part of $$("[data-step]", help)) part.hidden = part.dataset.step !== name;
  const heading = name === "choose" ? $("#help-heading") : $(`[data-step="${name}"] h3`, help);
  heading.tabIndex = -1;
  if (help.open) heading.focus();
}

// Only what the record says: asked, still asking, has it, here. Not sent yet is said as well.
let unsent = 0;
let alone = null; // the state of help outside a conversation
let slip = null; // the alert of the last press, until it was said to be a mistake

async function saySlip() {
  try {
    await line.request({ type: "mistake", alert: slip });
    slip = null;
    receipt();
    toast("They know you say it was a mistake. An adult may still check that you’re OK.");
  } catch {
    toast("That didn’t get through. You can tell the adult yourself.", { icon: "info" });
  }
}
function receipt(problem = "") {
  const box = $("#help-receipt");
  const state = thread ? thread.help : alone;
  if (problem) box.replaceChildren(notice({ tone: "danger", icon: "phone", text: problem }));
  else if (unsent) box.replaceChildren(notice({ tone: "warn", icon: "clock", title: line.isOpen ? "Telling them now" : "Not gone yet", text: line.isOpen ? "This takes a second." : "You’re offline, and we keep trying. Don’t wait for us: ring one of these. If it’s dangerous, ring 999." }));
  else if (state) {
    const words = helpWords(state, { me: "pupil", pressed: pressed || !thread });
    if (state === "asked" && (pressed || !thread)) words.text = "It will say here when one of them has it. You don’t have to wait for us: the numbers below answer right now.";
    box.replaceChildren(notice(words));
    if (slip) box.append(el("button", { class: "linkbtn", type: "button", text: "I pressed it by mistake", onclick: saySlip }));
  }
  else box.replaceChildren();
}

threads.on("help", (frame) => {
  alone = frame.state;
  receipt();
});
line.on("state", () => receipt());

$("#help-now").addEventListener("click", async () => {
  pressed = true;
  unsent += 1;
  receipt();
  $("#help-receipt").scrollIntoView({ block: "nearest" });
  let problem = "";
  try {
    slip = (await line.request({ type: "flag", conversation: thread?.open ? thread.id : null, urgency: "emergency" })).alert;
    thread?.redraw("help");
    if (thread && !thread.help) thread.took({ type: "help", conversation: thread.id, state: "asked" });
    else if (!thread) alone ??= "asked";
  } catch {
    problem = "That didn’t get through to us. Don’t wait: ring one of these, or tell an adult near you. If it’s dangerous, ring 999.";
  }
  unsent -= 1;
  receipt(problem);
});
$("#help-join").addEventListener("click", (event) => busy(event.currentTarget, async () => {
  const about = thread;
  try {
    await line.request({ type: "flag", conversation: about?.open ? about.id : null, urgency: "concern", note: "The pupil asks an adult to join the chat." }, { keep: false });
  } catch {
    receipt("That didn’t get through to us. Try again. If you can’t wait, ring one of these.");
    return;
  }
  about?.add({ kind: "note", key: "join", node: notice({ level: 2, tone: "adult", icon: "adult", role: "status", more: "system", title: "You’ve asked an adult to join", text: "It’s on their page now. It will say here when they’re in. If you can’t wait, press Help, then I need an adult now." }) });
  help.close();
}));
$("#help-report").addEventListener("click", () => {
  $("#report").reset();
  $("#report-error").hidden = true;
  step("report");
});
$("#help-else").addEventListener("click", (event) => busy(event.currentTarget, async () => {
  const id = thread?.id;
  leaving = true;
  if (thread?.open) await soon(line.request({ type: "leave", conversation: id }));
  help.close();
  threads.forget(id);
  endChat();
  home();
}));
$("#help-adult").addEventListener("click", () => {
  $("#about-adult").reset();
  $("#about-adult-words").textContent = site.independent ? "This goes only to the person your school has chosen for this. No other adult here is told, and the person you’re talking to isn’t either." : "Your school hasn’t chosen one person for this, so the adults here see it. If you don’t want them to, ring Childline, or tell an adult somewhere else.";
  step("adult");
});
$("#about-adult").addEventListener("submit", (event) => {
  event.preventDefault();
  busy(event.currentTarget.querySelector('[type="submit"]'), async () => {
    const note = $("#about-adult-note").value.trim();
    try {
      await line.request({ type: "flag", conversation: thread?.open ? thread.id : null, urgency: "concern", about: "adult", ...(note ? { note } : {}) });
    } catch {
      step("choose");
      receipt("That didn’t get through to us. Try again. If you can’t wait, ring one of these.");
      return;
    }
    $("#about-adult").reset();
    alone ??= "asked";
    step("choose");
    receipt();
  });
});
$("#help-end").addEventListener("click", () => step("end"));
$("#end-yes").addEventListener("click", () => {
  help.close();
  afterwards();
});

$("#report").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const reason = form.elements.reason.value;
  $("#report-error").hidden = Boolean(reason);
  if (!reason) {
    form.querySelector('input[name="reason"]').focus();
    return;
  }
  busy(form.querySelector('[type="submit"]'), async () => {
    const note = $("#report-note").value.trim();
    const last = thread?.items.findLast((item) => item.kind === "message" && !item.mine && item.message);
    const conversation = thread?.id;
    try {
      await line.request({ type: "report", conversation, message: last?.message ?? null, reason, ...(note ? { note } : {}) });
      if ($("#report-block").checked) await line.request({ type: "block", conversation });
    } catch {
      step("choose");
      receipt("That didn’t get through to us. Try again, or tell an adult near you.");
      return;
    }
    form.reset();
    help.close();
    toast("The adults have been told. Thank you.");
    if (thread && !thread.open) afterwards();
  });
});

// ---------------------------------------------------------------------------- afterwards

threads.on("ended", (ended) => {
  if (ended !== thread) return;
  if (leaving) return;
  drawFoot();
  if (document.activeElement === document.body || document.activeElement === $("#box")) $("#ended-next").focus();
});

$("#ended-next").addEventListener("click", afterwards);

// Whoever ends it: the other is told at once, and what is answered here follows with a second `leave`.
function afterwards() {
  if (thread?.open) {
    leaving = true;
    line.request({ type: "leave", conversation: thread.id }).catch(() => {});
  }
  helpful = null;
  $("#after").reset();
  for (const button of $$("[data-helpful]")) button.setAttribute("aria-pressed", "false");
  const partner = thread?.partner?.alias ?? "them";
  $("#after-thanks").textContent = `Thanks for talking to ${partner}. ${leaving ? "You can come back any day we’re open." : endedWords(thread?.why)}`;
  $("#again-words").textContent = `I’d like to talk to ${partner} again`;
  const state = thread?.help;
  $("#after-help").replaceChildren(...(state === "asked" || state === "still_asking"
    ? [notice({ tone: "adult", icon: "bell", title: "We’re still telling an adult", level: 2, text: "They know about this chat once one of them has it. If it can’t wait, ring Childline on 0800 1111, or 999 if it’s dangerous." })]
    : state === "has_it" ? [notice({ ...helpWords(state, { me: "pupil" }), level: 2 })] : []));
  go("after");
}

for (const button of $$("[data-helpful]")) {
  button.addEventListener("click", () => {
    helpful = button.dataset.helpful === "yes";
    for (const other of $$("[data-helpful]")) other.setAttribute("aria-pressed", String(other === button));
  });
}
$("#after").addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("#after-done"), async () => {
    const mood = $('input[name="mood-after"]:checked')?.value;
    const said = { ...(mood ? { mood: Number(mood) } : {}), ...(helpful === null ? {} : { helpful }), ...($("#again").checked ? { again: true } : {}) };
    if (thread && Object.keys(said).length) await soon(line.request({ type: "leave", conversation: thread.id, ...said }));
    done();
  });
});
$("#after-skip").addEventListener("click", done);

function done() {
  if (thread) threads.forget(thread.id);
  endChat();
  $("#ask").reset();
  home();
}

// ---------------------------------------------------------------------------- the card, signing out

switches();

const pinDialog = $("#pin-dialog");
$("#pin-open").addEventListener("click", () => {
  $("#pin-form").reset();
  pinProblem("");
  openDialog(pinDialog);
});
$("#pin-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const pin = $("#new-pin").value.trim();
  if (!/^\d{4,8}$/.test(pin)) {
    pinProblem("Use 4 to 8 numbers.");
    $("#new-pin").focus();
    return;
  }
  busy(event.submitter ?? $("#pin-form"), () => keepPin(pin));
});
$("#pin-none").addEventListener("click", (event) => busy(event.currentTarget, () => keepPin(null)));

async function keepPin(pin) {
  try {
    await api("PUT", "/api/pin", { pin });
  } catch (error) {
    pinProblem(error.status === 422 ? error.detail || "Choose other numbers." : "That didn’t work. Try again.");
    return;
  }
  $("#pin-form").reset();
  pinDialog.close();
  toast(pin ? "Your PIN is kept. You’ll need it next time." : "Your card works without a PIN now.");
}

function pinProblem(text) {
  const box = $("#new-pin-error");
  box.hidden = !text;
  $("span", box).textContent = text;
  $("#new-pin-field").classList.toggle("field--wrong", Boolean(text));
  if (text) $("#new-pin").setAttribute("aria-invalid", "true");
  else $("#new-pin").removeAttribute("aria-invalid");
}

async function signOut() {
  try {
    await api("DELETE", "/api/session");
  } catch {
    // signed out already, or no connection: the page goes either way
  }
  line.close();
  location.replace("/");
}
for (const id of ["#sign-out", "#closed-out"]) $(id).addEventListener("click", (event) => busy(event.currentTarget, signOut));

addEventListener("leaving", () => {
  composer.clear();
  endChat();
});

api("GET", "/api/site").then(({ hours_text: hours }) => {
  $("#closed-hours").textContent = hours ?? "";
  $("#closed-hours").hidden = !hours;
}, () => {});

line.open();
