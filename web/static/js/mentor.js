// A supporter's page: before a shift, the desk with up to two chats, the guide beside them, a break, afterwards.
// "Tell an adult now" is one press in the same corner of each chat, and becomes its own receipt.

import { $, $$, api, busy, clock, el, icon, meta, notice, openDialog, say, serviceList, show, switches, toast, tone } from "./dom.js";
import { guideFor } from "./guide.js";
import { Line } from "./line.js";
import { Composer, ThreadView, Threads } from "./thread.js";
import { eventNote, ownNote } from "./words.js";

const line = new Line();
let site = null;
line.on("welcome", (frame) => {
  site = frame.site; // before anything is drawn from it
});
const threads = new Threads(line);
const chats = new Map(); // conversation -> Chat, in the order they came

let view = "";
let onShift = false;
let onBreak = false;
let capacity = 1;
let since = 0;
let current = null; // the chat that has, or last had, the focus
let column = "side"; // which column shows below 64 rem
let moreFor = null;

// ---------------------------------------------------------------------------- views

function go(name, options) {
  if (view !== name) {
    view = name;
    show(name, options);
  }
  $("#break").hidden = !(onShift && name === "desk");
  $("#finish").hidden = !(onShift && name === "desk");
  $("#sign-out").hidden = onShift || chats.size > 0;
}

function home() {
  if (chats.size || (onShift && !onBreak)) go("desk", { focus: view !== "desk" });
  else if (onShift && onBreak) go("break");
  else go("before");
  drawSide();
}

// ---------------------------------------------------------------------------- the line

line.on("welcome", (frame) => {
  took(frame.shift);
  if (!frame.shift) onShift = onShift || frame.conversations.length > 0;
  drawSite();
  if (view === "" || view === "start" || view === "away") home();
  else drawSide();
});

// The shift as the server sees it: {on, capacity, on_break, since}; what it leaves out stays as it was.
function took(shift) {
  if (!shift) return;
  if (typeof shift.on === "boolean") onShift = shift.on;
  const pause = shift.on_break ?? shift.break;
  if (typeof pause === "boolean") onBreak = pause;
  if (Number.isInteger(shift.capacity)) capacity = shift.capacity;
  const at = shift.since ?? shift.started_at;
  if (at) since = Date.parse(at) || since;
  if (onShift && !since) since = Date.now();
}

line.on("site", (frame) => {
  site = { ...site, ...frame };
  drawSite();
  drawSide();
  for (const chat of chats.values()) chat.draw();
});

line.on("state", ({ state }) => {
  if (state === "waiting" && (view === "" || view === "start")) $("#start-words").textContent = "We can’t reach the server just now. We’ll keep trying.";
  for (const chat of chats.values()) chat.draw();
});

line.on("away", ({ code, text }) => {
  for (const chat of [...chats.values()]) chat.close();
  threads.all.clear();
  onShift = false;
  $('[data-view="away"] [data-h1]').dataset.h1 = code === 4100 ? "You’re signed out" : code === 4102 ? "Open somewhere else" : "This page has stopped";
  $("#away-words").textContent = text;
  const again = code === 4102 || code === 4103;
  $("#away-in").textContent = again ? "Use it here" : "Go to sign-in";
  $("#away-in").href = again ? "/mentor" : "/staff";
  for (const dialog of $$("dialog[open]")) dialog.close();
  go("away");
});

function drawSite() {
  const duty = site.on_duty ?? [];
  $("#duty-dot").className = duty.length ? "dot" : "dot dot--warn";
  $("#duty-words").textContent = duty.length ? `${names(duty)} ${duty.length === 1 ? "is" : "are"} on duty` : "No adult is on duty";
  $("#before-duty").replaceChildren(duty.length
    ? notice({ icon: "adult", title: `${names(duty)} ${duty.length === 1 ? "is" : "are"} on duty`, level: 2, text: "One press in a chat reaches them." })
    : notice({ tone: "warn", icon: "pause", title: "No adult is on duty", level: 2, text: "Chats don’t start without one. You can start your shift: the first chat comes when an adult is here." }));
  $("#break-duty").textContent = duty.length ? `${names(duty)} ${duty.length === 1 ? "is" : "are"} there for you too.` : "The adults are there for you too.";
  if (site.services?.length) for (const box of $$("[data-services]")) box.replaceChildren(serviceList(site.services));
}

const names = (list) => (list.length > 1 ? `${list.slice(0, -1).join(", ")} and ${list.at(-1)}` : list[0] ?? "");

// ---------------------------------------------------------------------------- shift and breaks

$('[data-view="before"] [data-h1]').dataset.h1 = meta("alias") ? `Hello, ${meta("alias")}` : "Hello";
$("#feeling").addEventListener("change", (event) => {
  $("#not-ok").hidden = event.currentTarget.checked;
});
$("#before").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = Number(event.currentTarget.elements.capacity.value);
  if ($("#sound").checked) tone({ volume: 0.0001 }); // a press lets the browser play the real one later
  busy($("#start-shift"), async () => {
    try {
      await line.request({ type: "shift", on: true, capacity: wanted });
    } catch (error) {
      $("#before-problem").replaceChildren(notice({ tone: "warn", icon: "info", text: cantStart(error) }));
      return;
    }
    $("#before-problem").replaceChildren();
    onShift = true;
    onBreak = false;
    capacity = wanted;
    since = Date.now();
    home();
  });
});

function cantStart(error) {
  if (error.code === "forbidden") return `You can’t start just now. ${error.detail || "Ask the coordinator about your training and approval."}`;
  if (error.code === "closed") return "We’re closed just now, so nobody can start a shift.";
  return "That didn’t work. Try again.";
}

const takeBreak = (button) => busy(button, async () => {
  try {
    await line.request({ type: "break", on: true });
  } catch {
    toast("That didn’t work. Try again.", { icon: "warn" });
    return;
  }
  onBreak = true;
  home();
  if (chats.size) toast("Nobody new comes to you now.");
});
const endBreak = (button) => busy(button, async () => {
  try {
    await line.request({ type: "break", on: false });
  } catch (error) {
    toast(error.detail || "That didn’t work. Try again.", { icon: "warn" });
    return;
  }
  onBreak = false;
  home();
});
$("#break").addEventListener("click", (event) => (onBreak ? endBreak : takeBreak)(event.currentTarget));
$("#break-over").addEventListener("click", (event) => endBreak(event.currentTarget));
$("#minute-break").addEventListener("click", (event) => takeBreak(event.currentTarget));
$("#minute-done").addEventListener("click", home);
for (const id of ["#finish", "#break-finish", "#minute-finish"]) $(id).addEventListener("click", (event) => finish(event.currentTarget));

async function finish(button) {
  const open = [...chats.values()].filter((chat) => chat.thread.open);
  if (open.length) {
    $("#finish-words").textContent = `${open.length === 1 ? "You have a chat open" : "You have two chats open"}. Nobody new will come to you. You can end ${open.length === 1 ? "it" : "them"} in your own time.`;
    if ((await openDialog($("#finish-dialog"))) !== "finish") return;
  }
  await busy(button, async () => {
    try {
      await line.request({ type: "shift", on: false });
    } catch (error) {
      toast(error.detail || "That didn’t work. Try again.", { icon: "warn" });
      return;
    }
    onShift = false;
    onBreak = false;
    since = 0;
    if (!chats.size) toast("Thank you for today.");
    home();
  });
}

$("#sign-out").addEventListener("click", (event) => busy(event.currentTarget, async () => {
  try {
    await api("DELETE", "/api/session");
  } catch {
    // signed out already
  }
  line.close();
  location.replace("/staff");
}));

setInterval(drawCare, 20_000);
function drawCare() {
  const minutes = since ? Math.floor((Date.now() - since) / 60_000) : 0;
  $("#shift-minutes").textContent = minutes === 1 ? "1 minute" : `${minutes} minutes`;
  $("#care-words").textContent = minutes >= 45 ? "You’ve been here a while. A break would be good." : "Drink something. You can take a break whenever you want one.";
}

// ---------------------------------------------------------------------------- one chat

class Chat {
  constructor(thread) {
    this.thread = thread;
    this.pressedAt = null;
    this.unsent = false;
    this.fresh = 0;
    this.root = $("#chat-template").content.firstElementChild.cloneNode(true);
    const part = (name) => $(`[data-${name}]`, this.root);
    this.part = part;
    this.alias = thread.partner?.alias ?? "Someone";
    const heading = part("name");
    heading.id = `chat-${thread.id}`;
    heading.textContent = this.alias;
    this.root.id = `col-${thread.id}`;
    this.root.dataset.col = thread.id;
    this.root.setAttribute("aria-labelledby", heading.id);
    part("scroller").setAttribute("aria-label", `The chat with ${this.alias}`);
    part("log").setAttribute("aria-label", `Messages with ${this.alias}`);
    part("box").setAttribute("aria-label", `Write to ${this.alias}`);
    part("box").placeholder = `Write to ${this.alias}`;
    part("send").setAttribute("aria-label", `Send to ${this.alias}`);
    part("more").setAttribute("aria-label", `More about the chat with ${this.alias}`);
    $("#columns").insertBefore(this.root, $("#empty"));
    this.composer = new Composer({
      box: part("box"),
      button: part("send"),
      changing: part("changing"),
      send: (text) => {
        if (!thread.open) return false;
        thread.post(text);
        return true;
      },
      typing: () => line.tell({ type: "typing", conversation: thread.id }),
      problem: (text) => {
        part("problem").textContent = text;
        part("problem").hidden = !text;
      },
    });
    this.view = new ThreadView(thread, {
      log: part("log"),
      scroller: part("scroller"),
      line,
      fresh: part("fresh"),
      after: (item) => ownNote(item, thread, { me: "mentor", change: (one) => this.composer.change(one.text), again: (one) => this.again(one) }),
      event: (item) => eventNote(item, thread, { me: "mentor", pressed: this.pressedAt !== null }),
    });
    part("tell").addEventListener("click", () => this.tell());
    part("more").addEventListener("click", () => openMore(this));
    part("guide").addEventListener("click", () => showColumn("guide"));
    part("close-chat").addEventListener("click", () => this.leaveColumn());
    this.root.addEventListener("focusin", () => focusOn(this));
    this.draw();
  }

  // One press: no dialog, no reason. Whatever happens next, it is kept until the server has it.
  async tell(again = false) {
    if ((this.pressedAt || this.unsent) && !again) {
      toast(this.unsent ? "It goes as soon as you’re online. If a life is at risk, ring 999." : `An adult was told at ${clock(this.pressedAt)}.`, { icon: "bell" });
      return;
    }
    this.unsent = true;
    this.draw();
    try {
      await line.request({ type: "flag", conversation: this.thread.id, urgency: "emergency" });
      this.pressedAt = new Date();
      this.thread.redraw("help");
      if (!this.thread.help) this.thread.took({ type: "help", conversation: this.thread.id, state: "asked" });
    } catch {
      toast("That didn’t get through. Go and find an adult now, or ring 999 if a life is at risk.", { icon: "warn" });
    } finally {
      this.unsent = false;
      this.draw();
    }
  }

  async again(item) {
    try {
      await line.request({ type: "second_look", message: item.message });
      this.thread.heldAgain(item);
    } catch (error) {
      toast(error.code === "forbidden" ? "An adult has decided about this one." : "That didn’t go through. Try again.", { icon: "info" });
    }
  }

  draw() {
    const { thread } = this;
    const others = thread.members.filter((who) => who.role !== "mentor");
    const topics = (thread.partner?.topics ?? []).join(", ");
    const here = thread.state === "open" && thread.present !== false && line.isOpen;
    const words = !thread.open ? "Ended" : thread.state === "paused" ? "Paused" : !line.isOpen ? "You’re offline" : thread.present === false ? "Not here just now" : topics || "Here now";
    this.part("state").replaceChildren(el("span", { class: here ? "dot" : "dot dot--off" }), words);
    this.part("icon").replaceChildren(icon(others.length > 1 ? "people" : "person"));
    this.drawTell();
    this.part("composer").hidden = !thread.open;
    this.part("ended").hidden = thread.open;
    const banners = [];
    if (thread.open && !line.isOpen && line.state !== "connecting") banners.push(notice({ tone: "plain", icon: "offline", more: "small", children: [el("p", {}, el("strong", { text: "You’re offline." }), " What you write is kept here, and goes when you’re back.")] }));
    else if (thread.state === "open" && thread.present === false) banners.push(notice({ tone: "plain", icon: "person", more: "small", children: [el("p", {}, el("strong", { text: `${this.alias} has lost their connection.` }), " They may come back. You can wait.")] }));
    if (thread.open && site?.closes_at && !thread.help) banners.push(notice({ tone: "plain", icon: "clock", more: "small", children: [el("p", {}, el("strong", { text: `We close at ${clock(site.closes_at)}.` }), " The chat ends then. Help them to come to a good end.")] }));
    const key = banners.map((node) => node.textContent).join();
    if (this.part("banners").dataset.words !== key) {
      this.part("banners").dataset.words = key;
      this.part("banners").replaceChildren(...banners);
    }
    drawSide();
  }

  // The button is its own receipt, and says only what the record says.
  drawTell() {
    const button = this.part("tell");
    const state = this.thread.help;
    let words = ["bell", "Tell an adult now"];
    let told = false;
    if (this.unsent) words = ["clock", line.isOpen ? "Telling an adult" : "Not gone yet"];
    else if (this.pressedAt) {
      told = true;
      words = { has_it: ["tick", "An adult has this"], here: ["adult", "An adult is here"], still_asking: ["bell", "Still asking"] }[state] ?? ["tick", `Adult told, ${clock(this.pressedAt)}`];
    } else if (state === "has_it" || state === "here") {
      words = ["bell", "Tell an adult now"]; // somebody is on it, and the button still works
    }
    button.classList.toggle("btn--alarm", !told && !this.unsent);
    button.classList.toggle("told", told || this.unsent);
    const key = words.join();
    if (button.dataset.words === key) return;
    button.dataset.words = key;
    button.replaceChildren(icon(words[0]), el("span", { text: words[1], role: told || this.unsent ? "status" : null }));
  }

  get badge() {
    if (this.pressedAt || this.unsent) return this.thread.help === "here" ? "Adult here" : this.thread.help === "has_it" ? "Adult has it" : "Adult told";
    return "";
  }

  close() {
    this.view.destroy();
    this.root.remove();
    chats.delete(this.thread.id);
    threads.forget(this.thread.id);
    if (current === this) current = null;
  }

  leaveColumn() {
    const hard = this.pressedAt !== null || this.thread.help !== null;
    const words = this.thread.help === "here" || this.thread.help === "has_it" ? `Your chat with ${this.alias} went to an adult. You did the right thing.` : `Thank you for being there for ${this.alias}.`;
    this.close();
    showColumn("side");
    if (hard) {
      $("#minute-words").textContent = words;
      go("minute");
      drawSide();
      return;
    }
    home();
  }
}

threads.on("opened", (thread, frame) => {
  if (chats.has(thread.id)) return;
  const chat = new Chat(thread);
  chats.set(thread.id, chat);
  onShift = true;
  if (!since) since = Date.now();
  go("desk", { focus: false });
  if (frame.type === "paired") {
    if ($("#sound").checked) tone();
    say(`${chat.alias} is here.`);
  }
  const writing = document.activeElement?.matches?.("textarea, input, dialog *");
  if (!writing) {
    showColumn(thread.id);
    chat.part("box").focus();
  }
  drawSide();
  drawGuide();
});

threads.on("changed", (thread, what, item) => {
  const chat = chats.get(thread.id);
  if (!chat) return;
  if (what === "message" && item && item.kind === "message" && !item.mine && !item.replay && !item.counted) {
    item.counted = true;
    if (narrow() && column !== thread.id) chat.fresh += 1;
    drawTabs();
    return;
  }
  if (what !== "message" && what !== "loading" && what !== "typing") chat.draw();
});

threads.on("ended", (thread) => {
  chats.get(thread.id)?.draw();
});

// ---------------------------------------------------------------------------- the columns

const wide = matchMedia("(min-width: 64rem)");
const narrow = () => !wide.matches;
wide.addEventListener("change", drawColumns);

function showColumn(name) {
  column = name;
  const chat = chats.get(name);
  if (chat) {
    chat.fresh = 0;
    focusOn(chat);
  }
  drawColumns();
}

function drawColumns() {
  if (column !== "side" && column !== "guide" && !chats.has(column)) column = chats.size ? chats.keys().next().value : "side";
  for (const col of $$("#columns > [data-col]")) {
    if (col.dataset.col === column) delete col.dataset.hidden;
    else col.dataset.hidden = "narrow";
  }
  const room = onShift && chats.size < Math.max(1, capacity);
  $("#empty").hidden = !(chats.size === 0 || room) || narrow();
  $("#empty-title").textContent = chats.size ? "Room for one more" : onBreak ? "You’re on a break" : "Nobody is waiting for you";
  $("#empty-words").textContent = onBreak ? "Nobody new comes to you until you’re ready." : "When somebody comes, their chat opens here.";
  const working = chats.size + ($("#empty").hidden ? 0 : 1);
  $("#columns").classList.toggle("desk__body--one", working < 2);
  drawTabs();
}

function drawTabs() {
  const tabs = [...[...chats.values()].map((chat) => [chat.thread.id, chat.alias, chat.fresh]), ["guide", "Guide", 0], ["side", "Your shift", 0]];
  const box = $("#coltabs");
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.to : null;
  box.replaceChildren(...tabs.map(([id, words, fresh]) => el("button", { class: "tab grow", type: "button", dataset: { to: id }, "aria-current": id === column ? "true" : null, onclick: () => showColumn(id) }, words, fresh ? el("span", { class: "badge badge--accent", text: `${fresh} new` }) : null)));
  if (focused) $(`[data-to="${CSS.escape(focused)}"]`, box)?.focus();
}

function drawSide() {
  const box = $("#chats");
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.to : null;
  box.replaceChildren(...[...chats.values()].map((chat) => el("a", { href: `#col-${chat.thread.id}`, dataset: { to: chat.thread.id }, "aria-current": chat === current ? "true" : null, onclick: (event) => {
    event.preventDefault();
    showColumn(chat.thread.id);
    (chat.thread.open ? chat.part("box") : chat.part("close-chat")).focus();
  } }, icon("chat"), el("span", { class: "grow", text: chat.alias }), chat.badge ? el("span", { class: "badge badge--adult", text: chat.badge }) : !chat.thread.open ? el("span", { class: "badge", text: "Ended" }) : null)));
  if (focused) $(`[data-to="${CSS.escape(focused)}"]`, box)?.focus();
  $("#chats-empty").hidden = chats.size > 0;
  const notes = [];
  if (onBreak && onShift) notes.push(["break", notice({ icon: "cup", more: "small", text: "You’re on a break. Nobody new comes to you." })]);
  if (!onShift && chats.size) notes.push(["off", notice({ icon: "info", more: "small", text: "Your shift is over. End your chats in your own time." })]);
  if (site && (site.on_duty ?? []).length === 0) notes.push(["duty", notice({ tone: "warn", icon: "pause", more: "small", text: "No adult is on duty, so chats are paused. They go on as soon as one is back." })]);
  const key = notes.map(([name]) => name).join();
  if ($("#side-notes").dataset.key !== key) {
    $("#side-notes").dataset.key = key;
    $("#side-notes").replaceChildren(...notes.map(([, node]) => node));
  }
  $("#break span").textContent = onBreak ? "I’m ready" : "Take a break";
  $("#finish").hidden = !(onShift && view === "desk");
  $("#break").hidden = !(onShift && view === "desk");
  $("#sign-out").hidden = onShift || chats.size > 0;
  drawCare();
  drawColumns();
}

function focusOn(chat) {
  if (current === chat) return;
  current = chat;
  for (const link of $$("#chats a")) {
    if (link.dataset.to === chat.thread.id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  drawGuide();
}

// ---------------------------------------------------------------------------- the guide

function drawGuide() {
  const guide = guideFor(current?.thread.partner?.topics ?? []);
  if ($("#guide-title").textContent === guide.title) return;
  $("#guide-title").textContent = guide.title;
  $("#guide-steps").replaceChildren(...guide.steps.map(([lead, rest]) => el("li", {}, el("span", {}, el("b", { text: lead }), ` ${rest}`))));
  $("#phrases").replaceChildren(...guide.phrases.map((words) => el("button", { class: "phrase small", type: "button", text: words, onclick: () => putWords(words) })));
}

function putWords(words) {
  const chat = current?.thread.open ? current : [...chats.values()].find((one) => one.thread.open);
  if (!chat) {
    toast("There’s no chat to put it in yet.", { icon: "info" });
    return;
  }
  showColumn(chat.thread.id);
  chat.composer.put(words);
}

const tabs = $$('#guide [role="tab"]');
for (const tab of tabs) {
  tab.addEventListener("click", () => pick(tab));
  tab.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const next = tabs[(tabs.indexOf(tab) + by + tabs.length) % tabs.length];
    pick(next);
    next.focus();
  });
}
function pick(chosen) {
  for (const tab of tabs) {
    tab.setAttribute("aria-selected", String(tab === chosen));
    tab.tabIndex = tab === chosen ? 0 : -1;
    $(`#${tab.getAttribute("aria-controls")}`).hidden = tab !== chosen;
  }
}

// ---------------------------------------------------------------------------- more, and asking an adult

const more = $("#more");
let sure = null;

function openMore(chat) {
  moreFor = chat;
  $("#more-heading").textContent = `Chat with ${chat.alias}`;
  $("#more-leave").hidden = !chat.thread.open;
  $("#more-block").hidden = !chat.thread.open;
  step("choose");
  openDialog(more);
}
function step(name) {
  for (const part of $$("[data-step]", more)) part.hidden = part.dataset.step !== name;
  if (more.open) ($(`[data-step="${name}"] h3`, more) ?? $("#more-heading")).focus();
}
for (const button of $$("dialog [data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
for (const button of $$("[data-step-to]", more)) button.addEventListener("click", () => step(button.dataset.stepTo));

$("#more-tell").addEventListener("click", () => {
  more.close();
  moreFor.tell(true);
});
$("#more-report").addEventListener("click", () => {
  $("#report").reset();
  $("#report-error").hidden = true;
  step("report");
});
$("#more-leave").addEventListener("click", () => ask("leave", "End this chat?", `${moreFor.alias} will be told that you’ve gone. If they still need someone, they can ask for somebody else.`));
$("#more-block").addEventListener("click", () => ask("block", "End it, and don’t match us again?", "The chat ends, and you two are never put together again. Nobody is told why."));
function ask(what, heading, words) {
  sure = what;
  $("#sure-heading").textContent = heading;
  $("#sure-words").textContent = words;
  step("sure");
}
$("#sure-yes").addEventListener("click", (event) => busy(event.currentTarget, async () => {
  const chat = moreFor;
  try {
    await line.request({ type: sure, conversation: chat.thread.id });
  } catch (error) {
    if (error.code !== "closed" && error.code !== "not_a_member") {
      more.close();
      toast(error.detail || "That didn’t work. Try again.", { icon: "warn" });
      return;
    }
  }
  more.close();
  if (chats.has(chat.thread.id)) chat.leaveColumn();
}));
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
    const last = moreFor.thread.items.findLast((item) => item.kind === "message" && !item.mine && item.message);
    try {
      await line.request({ type: "report", conversation: moreFor.thread.id, message: last?.message ?? null, reason, ...(note ? { note } : {}) });
    } catch {
      toast("That didn’t get through. Try again, or go and find an adult.", { icon: "warn" });
      return;
    }
    form.reset();
    more.close();
    toast("The adults have been told. Thank you.");
  });
});

const askAdult = $("#ask-adult");
for (const button of $$("[data-ask-adult]")) {
  button.addEventListener("click", () => {
    $("#ask-adult-form").reset();
    $("#ask-adult-error").hidden = true;
    $("#ask-adult-heading").textContent = button.textContent.includes("question") ? "Ask an adult a question" : "Talk to an adult today";
    openDialog(askAdult);
  });
}
$("#ask-adult-form").addEventListener("submit", (event) => {
  event.preventDefault();
  busy(event.submitter, async () => {
    const typed = $("#ask-adult-note").value.trim();
    const note = typed || "A supporter would like to talk to an adult today.";
    try {
      await line.request({ type: "flag", conversation: null, urgency: "concern", note });
    } catch (error) {
      $("#ask-adult-error").textContent = error.detail || "That didn’t get through. Try again, or go and find an adult.";
      $("#ask-adult-error").hidden = false;
      return;
    }
    $("#ask-adult-form").reset();
    askAdult.close();
    toast("The adults have it.");
  });
});

// ---------------------------------------------------------------------------- start

switches();
drawGuide();
drawColumns();
line.open();
