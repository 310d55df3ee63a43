// The pupil's sign-in: a code, perhaps a PIN, no name.

import { $, $$, api, busy, openDialog, serviceList, switches } from "./dom.js";

const form = $("#signin");
const code = $("#code");
const pin = $("#pin");
const remember = $("#remember");

switches();
$("#lost").addEventListener("click", () => openDialog($("#lost-dialog")));
form.addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("#signin-button"), signIn);
});
code.addEventListener("input", () => wrong(""));
showSite();
showServices();

async function signIn() {
  problem("");
  const typed = code.value.trim();
  if (!typed) {
    wrong("Type the code from your card.");
    code.focus();
    return;
  }
  const body = { code: typed };
  if (pin.value.trim()) body.pin = pin.value.trim();
  if (remember.checked) body.remember = true;
  try {
    await api("POST", "/api/session", body);
  } catch (error) {
    said(error);
    return;
  }
  ownPhone(remember.checked);
  form.reset();
  location.replace("/chat");
}

function said(error) {
  if (error.status === 401) {
    wrong(pin.value ? "That code and PIN don’t work together. Check for a 5 that looks like an S." : "That code doesn’t work. Check for a 5 that looks like an S. If you chose a PIN, type that too.");
    code.focus();
    return;
  }
  if (error.status === 422 || error.status === 400) {
    wrong("That isn’t a whole code. It’s printed on your card, in groups.");
    code.focus();
    return;
  }
  if (error.status === 429) {
    const minutes = Math.max(1, Math.ceil((error.retryAfter ?? 60) / 60));
    problem(`That’s a lot of tries. Wait ${minutes === 1 ? "a minute" : `${minutes} minutes`}, then try again.`);
    return;
  }
  problem(error.status === 0
    ? "We can’t reach the server just now. Check that you’re online, then press Sign in again. What you typed is still here."
    : "Something went wrong on our side. Try again in a minute.");
}

function wrong(text) {
  const line = $("#code-error");
  const was = !line.hidden;
  if (!text && !was) return;
  $("#code-field").classList.toggle("field--wrong", Boolean(text));
  $("span", line).textContent = text;
  line.hidden = !text;
  if (text) code.setAttribute("aria-invalid", "true");
  else code.removeAttribute("aria-invalid");
  code.setAttribute("aria-describedby", text ? "code-error code-hint" : "code-hint");
}

function problem(text) {
  const box = $("#problem");
  box.hidden = !text;
  $("#problem-text").textContent = text;
  if (text) box.focus();
}

function ownPhone(yes) {
  try {
    if (yes) localStorage.setItem("own-phone", "yes");
    else localStorage.removeItem("own-phone");
  } catch {
    // storage is off: leaving then signs out, which is the safe way round
  }
}

async function showSite() {
  let site;
  try {
    site = await api("GET", "/api/site");
  } catch {
    $("#open-words").textContent = "We can’t see our hours just now";
    return;
  }
  const name = site.service_name || site.name;
  if (name) {
    for (const place of $$("[data-service]")) place.textContent = name;
    document.title = name;
  }
  if (site.school_name) $("[data-school-at]").textContent = `at ${site.school_name}`;
  if (site.neutral_url) $('meta[name="neutral-url"]').content = site.neutral_url;
  $("#open-dot").classList.toggle("dot--off", !site.open);
  const next = site.next_open_text ? `Back ${site.next_open_text}.` : "";
  const hours = site.hours_text ? site.hours_text : "";
  $("#open-words").textContent = site.open ? `Open now${hours ? `. ${hours}` : ""}` : hours || "Closed just now";
  $("#closed").hidden = site.open;
  if (!site.open) {
    $("#closed-title").textContent = site.why === "no_adult_on_duty" ? "We’ve had to pause. No adult is on duty, and we don’t run without one." : "We’re closed just now.";
    $("#closed-next").textContent = next;
  }
}

async function showServices() {
  try {
    const { items } = await api("GET", "/api/services");
    if (items?.length) $("[data-services]").replaceChildren(serviceList(items));
  } catch {
    // the page's own list stays
  }
}
