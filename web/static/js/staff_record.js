// The record of a case: copies, what happened earlier or after closing, and legal holds.

import { $, api, busy, toast } from "./dom.js";
import { words, wrong } from "./staff.js";
import { moment } from "./staff_words.js";

/** Draws the card "The record" of a case, and sees to what is pressed there. */
export class RecordCard {
  #changed;
  #id = "";
  #held = null;

  constructor(changed) {
    this.#changed = changed;
    $("#record-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#write();
    });
    $("#hold-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#hold();
    });
  }

  draw(detail) {
    const closed = detail.state === "closed";
    $("#record-more-words").textContent = closed ? "Add to this record" : "Write about something that happened earlier";
    $("#record-hint").textContent = closed ? "This case is closed: what you write is marked as added." : "Both times are kept. It can’t be changed later.";
    if (this.#id === detail.id) return;
    this.#id = detail.id;
    const path = `/api/records/${encodeURIComponent(detail.id)}`;
    $("#record-pdf").setAttribute("href", `${path}.pdf`);
    $("#record-zip").setAttribute("href", `${path}.zip`);
    this.#load();
  }

  /** Forget the case: what was typed for one never shows with another. */
  leave() {
    this.#id = "";
    this.#show(null);
    this.#trouble("");
    for (const link of ["#record-pdf", "#record-zip"]) $(link).setAttribute("href", "#record");
    for (const form of ["#record-form", "#hold-form"]) $(form).reset();
    for (const more of ["#record-more", "#hold-more"]) $(more).open = false;
  }

  async #load() {
    const id = this.#id;
    try {
      const { items } = await api("GET", "/api/records/holds");
      if (this.#id === id) this.#show(items.find((each) => each.id === id) ?? null);
    } catch (error) {
      if (error.status !== 401 && this.#id === id) this.#trouble(words(error));
    }
  }

  #show(held) {
    this.#held = held;
    $("#record-held").hidden = !held;
    $("#record-held-words").textContent = held ? `On legal hold since ${moment(held.since)}, by ${held.by}: nothing of it is erased.${held.reason ? ` ${held.reason}` : ""}` : "";
    $("#hold-more-words").textContent = held ? "Lift the legal hold" : "Legal hold";
    $("#hold-button").textContent = held ? "Lift the hold" : "Put it on hold";
  }

  async #write() {
    const text = $("#record-text").value.trim();
    if (wrong("record-text", !text)) {
      $("#record-text").focus();
      return;
    }
    const when = $("#record-when").value;
    const body = { text, happened_at: when ? new Date(when).toISOString() : null };
    const done = await this.#send("notes", body, "#record-button");
    if (!done) return;
    $("#record-form").reset();
    toast(done.kind === "addition" ? "Added to the record" : "It’s in the record");
    this.#changed();
  }

  async #hold() {
    const reason = $("#hold-reason").value.trim();
    if (wrong("hold-reason", !reason)) {
      $("#hold-reason").focus();
      return;
    }
    const done = await this.#send(this.#held ? "release" : "hold", { reason }, "#hold-button");
    if (!done) return;
    $("#hold-form").reset();
    this.#show(done.held ? done : null);
    toast(done.held ? "It’s on hold" : "The hold is lifted");
  }

  async #send(what, body, button) {
    const id = this.#id;
    let done = null;
    this.#trouble("");
    await busy($(button), async () => {
      try {
        const answer = await api("POST", `/api/records/${encodeURIComponent(id)}/${what}`, body);
        if (this.#id === id) done = answer;
      } catch (error) {
        if (this.#id === id) this.#trouble(words(error));
      }
    });
    return done;
  }

  #trouble(text) {
    $("#record-error").hidden = !text;
    $("#record-error-words").textContent = text;
  }
}
