// Leave this page: one press on any [data-leave] button, or Shift three times on its own.
//
// Blanks the page at once, drops what the tab remembers, signs out in the background (not on somebody's own
// phone, where they asked to stay signed in) and replaces the history entry with the school's neutral page.
// A script of its own: it works even where another one broke.
(() => {
  "use strict";
  const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";
  const WITHIN_MS = 5000;
  let presses = 0;
  let alone = false;
  let timer = 0;
  let gone = false;

  const ownPhone = () => {
    try {
      return localStorage.getItem("own-phone") === "yes";
    } catch {
      return false;
    }
  };

  function leave() {
    if (gone) return;
    gone = true;
    const to = meta("neutral-url") || "about:blank";
    const csrf = meta("csrf");
    document.documentElement.classList.add("is-gone");
    document.title = "\u200b";
    window.dispatchEvent(new CustomEvent("leaving"));
    try {
      if (csrf && !ownPhone()) {
        fetch("/api/session", { method: "DELETE", headers: { "X-CSRF-Token": csrf }, keepalive: true, credentials: "same-origin" }).catch(() => {});
      }
    } finally {
      try {
        sessionStorage.clear();
      } catch {
        // switched off: then nothing is there
      }
      document.body.replaceChildren();
      location.replace(to);
    }
  }

  const forget = () => {
    presses = 0;
    clearTimeout(timer);
  };

  document.addEventListener("click", (event) => {
    if (event.target instanceof Element && event.target.closest("[data-leave]")) {
      event.preventDefault();
      leave();
    }
  });
  // Shift counts only when pressed and let go with no other key: typing capitals never leaves.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Shift") {
      if (!event.repeat) alone = true;
    } else {
      alone = false;
      forget();
    }
  }, true);
  document.addEventListener("pointerdown", forget, true);
  document.addEventListener("keyup", (event) => {
    if (event.key !== "Shift" || !alone) return;
    alone = false;
    presses += 1;
    clearTimeout(timer);
    timer = setTimeout(forget, WITHIN_MS);
    const status = document.getElementById("status");
    if (presses >= 3) leave();
    else if (status) status.textContent = presses === 1 ? "Shift, 2 more times to leave this page" : "Shift, 1 more time to leave this page";
  }, true);
  // A page brought back from the browser's memory is never shown as it was.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
})();
