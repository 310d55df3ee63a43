// Drills: start a practice alert, end it, and see how the last ones went.

import { $, api, busy, el, notice, say } from "./dom.js";
import { badge, confirmed, problem, words } from "./staff.js";
import { capital, count, moment, span } from "./staff_words.js";

const WHO = { on_duty: "The adults on duty", deputies: "The deputies too", all_adults: "The head and all trained adults", out_of_band: "The list for when nobody answers" };
const CHANNEL = { in_app: "open pages", email: "email", sms: "text message", voice: "call or pager", push: "browser", webhook: "webhook" };
const OUTCOME = { ok: "arrived", failed: "reached nobody", unknown: "not known yet" };

function told(rung) {
  const late = rung.told_s - rung.due_s;
  const ways = rung.channels.map((each) => `${CHANNEL[each.channel] ?? each.channel}: ${OUTCOME[each.outcome]}${each.tries > 1 ? `, ${count(each.tries, "try", "tries")}` : ""}`);
  const on = late > 10 ? `${span(late)} late` : "on time";
  return el("li", {}, `${WHO[rung.audience] ?? capital(rung.audience)}, ${rung.told_s < 1 ? "at once" : `after ${span(rung.told_s)}`} (${on}). `, el("span", { class: "soft", text: `${capital(ways.join("; "))}.` }));
}

function drill(each) {
  const going = each.state !== "closed";
  const answer = each.taken_by ? `${each.taken_by} took it on after ${span(each.taken_s)}` : going ? "Nobody has taken it on yet" : "Nobody took it on";
  const end = going ? el("button", { class: "btn btn--slim", type: "button", text: "End this practice" }) : null;
  end?.addEventListener("click", () => busy(end, async () => {
    try {
      await api("POST", `/api/drills/${each.id}/end`);
      say("The practice has ended.");
    } catch (error) {
      problem($("#drill-problem"), words(error));
    }
    await loadDrills();
  }));
  return el("div", { class: "stack stack-2" },
    el("div", { class: "row row--wrap" }, el("b", { class: "grow", text: moment(each.started_at) }), going ? badge("Under way", "badge--warn") : null, end),
    el("p", { class: "small", text: `${answer}. Started by ${each.started_by}.` }),
    each.rungs.length ? el("ol", { class: "small stack stack-1" }, ...each.rungs.map(told)) : el("p", { class: "small soft", text: "Nobody has been told yet." }));
}

export async function loadDrills() {
  let found;
  try {
    found = await api("GET", "/api/drills");
  } catch (error) {
    problem($("#drill-problem"), words(error));
    return;
  }
  const items = found.items ?? [];
  $("#drills-list").replaceChildren(...(items.length ? items.map(drill) : [notice({ tone: "plain", icon: "info", text: "There has been no practice yet. Have one each term, and after each change of who is told." })]));
  $("#drill-start").disabled = items.some((each) => each.state !== "closed");
}

$("#drill-start")?.addEventListener("click", async (event) => {
  const button = event.currentTarget;
  const sure = await confirmed({
    title: "Start a practice alert?",
    text: "It rings and writes to the same people, in the same order, as a real one would. Every message says that it is practice. It ends when you end it, or by itself after half an hour.",
    yes: "Start it",
  });
  if (!sure) return;
  await busy(button, async () => {
    problem($("#drill-problem"), "");
    try {
      await api("POST", "/api/drills", {});
      say("The practice alert is on its way.");
    } catch (error) {
      problem($("#drill-problem"), words(error));
    }
    await loadDrills();
  });
});
