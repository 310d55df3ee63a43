// Staff sign-in: one form, one answer for every wrong credential, and on to the page of the role.

import { $, api, busy } from "./dom.js";
import { wrong } from "./staff.js";
import { span } from "./staff_words.js";

const HOME = { adult: "/desk", moderator: "/review", coordinator: "/coordinator", mentor: "/mentor", pupil: "/chat" };
const box = $("#problem");

function tell(title, text) {
  $("#problem-title").textContent = title;
  $("#problem-text").textContent = text;
  box.hidden = false;
  box.focus();
}

$("#password-show").addEventListener("change", (event) => {
  $("#password").type = event.target.checked ? "text" : "password";
});

$("#signin").addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("#signin-button"), signIn);
});

async function signIn() {
  const username = $("#username").value.trim();
  const password = $("#password").value;
  const otp = $("#otp").value.replace(/\s/g, "");
  box.hidden = true;
  const missing = [wrong("username", !username) && "username", wrong("password", !password) && "password"].filter(Boolean);
  if (missing.length) {
    $(`#${missing[0]}`).focus();
    return;
  }
  let answer;
  try {
    answer = await api("POST", "/api/session", otp ? { username, password, otp } : { username, password });
  } catch (error) {
    if (error.status === 429) tell("Too many tries", `For safety it waits now. Try again in ${span(error.retryAfter ?? 60)}.`);
    else if (error.status === 0) tell("We can’t reach the server", "Nothing was sent. Try again in a moment.");
    else if (error.status === 401 || error.status === 422) {
      // Where the server asks for a one-time code it says so, and the field appears.
      const asked = /\botp\b|one-time/i.test(error.detail);
      if (asked) $("#otp-field").hidden = false;
      const shown = !$("#otp-field").hidden;
      tell(asked ? "One more step" : "That didn’t work", shown ? "Check your username and password, and write the one-time code that shows now." : "Check your username and password, and try again.");
    } else tell("That didn’t work", "Something went wrong on our side. Try again in a moment.");
    return;
  }
  $("#password").value = "";
  location.replace(HOME[answer?.member?.role] ?? "/staff");
}
