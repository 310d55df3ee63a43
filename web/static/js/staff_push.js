// "Tell this browser too": alerts as notifications while the adult's page is closed. Offered where the browser can.

import { $, api, busy, el } from "./dom.js";
import { words } from "./staff.js";

const WORKER = "/static/js/push_worker.js";
const can = "serviceWorker" in navigator && "PushManager" in globalThis && "Notification" in globalThis;

function bytes(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (each) => each.charCodeAt(0));
}

const registered = () => navigator.serviceWorker.getRegistration(WORKER);

async function subscribed() {
  return (await (await registered())?.pushManager.getSubscription()) ?? null;
}

async function turnOn() {
  if ((await Notification.requestPermission()) !== "granted") return "The browser did not allow it. You can change that in its settings for this page.";
  const { push_key: key } = await api("GET", "/api/channels");
  const worker = await navigator.serviceWorker.register(WORKER);
  await ready(worker);
  const found = await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: bytes(key) });
  const added = await api("POST", "/api/channels", { kind: "push", to: JSON.stringify(found) });
  const outcome = await api("POST", `/api/channels/${added.id}/try`);
  return outcome.ok ? "On. A try is on its way: it should show in a moment." : `Not working yet: ${outcome.fault}.`;
}

function ready(worker) {
  return new Promise((resolve) => {
    const waiting = worker.installing ?? worker.waiting;
    if (worker.active || !waiting) resolve();
    else waiting.addEventListener("statechange", () => worker.active && resolve());
  });
}

async function turnOff() {
  await (await subscribed())?.unsubscribe();
  return "Off. This browser shows alerts only while the page is open.";
}

async function draw(said = "") {
  const on = await subscribed();
  const button = el("button", { class: "btn btn--slim", type: "button", text: on ? "Stop telling this browser" : "Tell this browser too" });
  button.addEventListener("click", () => busy(button, async () => {
    let words_ = "";
    try {
      words_ = await (on ? turnOff() : turnOn());
    } catch (error) {
      words_ = error.status === undefined ? "The browser could not do it." : words(error);
    }
    await draw(words_);
  }));
  $("#reach").replaceChildren(el("h2", { class: "h3", text: "When this page is closed" }),
    el("p", { class: "small soft", text: "A notification says that an alert needs you. It never says more." }), button,
    el("p", { class: "small", role: "status", text: said }));
  $("#reach").hidden = false;
}

if (can && $("#reach")) draw();
