// What staff read: labels, risks, states and times in plain words. Pure: no page, no network, no clock of its own.
// Words say what a text is about, never what a person is. Times are exact.

const ABOUT = {
  self_harm: "hurting themselves, or not wanting to be here",
  abuse: "being hurt by someone",
  grooming: "secrets, flattery or pressure from someone",
  sexual: "sexual words",
  harassment: "hurtful words",
  threat: "a threat",
  bullied: "being picked on",
  eating: "eating and their body",
  substance: "drink or drugs",
  exploitation: "being used by someone",
  running_away: "leaving home",
  personal_data: "personal details",
  boundary: "taking the talk outside this chat",
  flag: "someone here asked for an adult",
  about_adult: "it is about an adult of the school",
  practice: "practice: nothing has happened, answer as if it had",
  report: "someone here reported it",
  second_look: "the sender asks for another look",
  escalated: "a moderator passed it on",
  to_read: "messages that somebody should read; no single one was plain",
  unclear: "something that isn’t clear",
  unjudged: "a note that no check could read",
  unreadable: "an alert that cannot be read: its record is damaged",
};

const HARSH = {
  toxicity: "harsh words",
  severe_toxicity: "very harsh words",
  obscene: "swearing",
  threat: "a threat",
  insult: "an insult",
  identity_attack: "words against a group of people",
};

const REPORTED = {
  unkind: "reported as unkind",
  personal: "reported for personal details",
  unsafe: "reported as unsafe",
  other: "reported by someone in the chat",
};

/** What one label of the server's is about. Unknown ones are shown as they are, with spaces. */
export function about(label) {
  if (label.startsWith("toxicity:")) return HARSH[label.slice(9)] ?? "harsh words";
  if (label.startsWith("level:")) return "the whole of it, read together";
  if (label.startsWith("reported:")) return REPORTED[label.slice(9)] ?? "reported by someone in the chat";
  return ABOUT[label] ?? HARSH[label] ?? label.replaceAll("_", " ");
}

/** "Not wanting to be here; a threat": every label once, a capital first. */
export function aboutAll(labels, otherwise = "") {
  const words = [...new Set((labels ?? []).map(about))].join("; ");
  return words ? capital(words) : otherwise;
}

export const capital = (text) => (text ? text[0].toUpperCase() + text.slice(1) : text);

/** Why something was held, by the server's stable word, where no label says it. */
export function heldFor(reason) {
  return {
    unclear: "The checks weren’t sure", check_failed: "A check gave no answer", language: "The checks may not read this language", first_look: "Everything is read first here", paused: "Written while the chat was paused",
    second_look: "The sender asks for another look", adult_first: "An adult reads this one first", unkind: "It may hurt someone", personal: "Personal details", unsafe: "It may not be safe",
  }[reason] ?? (reason ? capital(about(String(reason))) : "A check gave no answer");
}

/** The badge of a risk: [word, class]. */
export function riskBadge(risk) {
  return {
    immediate: ["Immediate", "badge--now"],
    high: ["High", "badge--danger"],
    concern: ["Concern", "badge--warn"],
  }[risk] ?? ["No risk seen", ""];
}

export const roleWord = (role) => ({
  pupil: "Pupil", mentor: "Supporter", adult: "Member of staff", moderator: "Moderator", coordinator: "Coordinator",
}[role] ?? capital(role ?? ""));

/** What became of a message, for the badge in a transcript; "" when it was simply sent. */
export const statusWord = (status) => ({
  delivered: "", released: "Sent after a look", held: "Held", withheld: "Not sent", blocked: "Not sent", paused: "Held, chat paused", pending: "Being checked",
}[status] ?? capital(String(status ?? "").replaceAll("_", " ")));

/** The reasons of a decision. The sender is told in words of this kind; see the pupil's page. */
export const REASONS = [
  ["unkind", "It could hurt someone"],
  ["personal", "Personal details are in it"],
  ["unsafe", "It isn’t safe"],
  ["mistake", "It looks sent by mistake"],
  ["other", "Something else"],
];

/** The reason that the labels suggest; a person may choose another. */
export function likelyReason(labels) {
  // Only what the words do to somebody else is "unkind": whoever tells of being hurt must never read that.
  const has = (...names) => (labels ?? []).some((label) => names.includes(label));
  const risky = (labels ?? []).some((label) => !label.startsWith("toxicity:") && !label.startsWith("reported:") && !["personal_data", "harassment"].includes(label));
  if (risky) return "unsafe";
  if (has("personal_data", "reported:personal")) return "personal";
  if (has("harassment", "reported:unkind") || (labels ?? []).some((label) => label.startsWith("toxicity:"))) return "unkind";
  return "unsafe";
}

// ---------------------------------------------------------------- times

/** A Date of the server's ISO 8601 time, or null. */
export function when(value) {
  if (!value) return null;
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** "3.52 pm", as schools write it; with seconds "3.52.07 pm". */
export function clock(value, seconds = false) {
  const date = when(value);
  if (!date) return "";
  const two = (n) => String(n).padStart(2, "0");
  const hour = date.getHours();
  return `${hour % 12 || 12}.${two(date.getMinutes())}${seconds ? `.${two(date.getSeconds())}` : ""} ${hour < 12 ? "am" : "pm"}`;
}

/** "3.52 pm" today, "Friday 3.52 pm" this week, "20 November, 3.52 pm" before that. */
export function moment(value, now = new Date()) {
  const date = when(value);
  if (!date) return "";
  const days = Math.round((midnight(now) - midnight(date)) / 86_400_000);
  if (days === 0) return clock(date);
  if (days === 1) return `yesterday, ${clock(date)}`;
  if (days === -1) return `tomorrow, ${clock(date)}`;
  if (days > 1 && days < 7) return `${date.toLocaleDateString("en-GB", { weekday: "long" })}, ${clock(date)}`;
  return `${day(date)}, ${clock(date)}`;
}

/** "20 November 2026" */
export function day(value) {
  const date = when(value);
  return date ? date.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric" }) : "";
}

function midnight(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** "1 min 48 s", "58 s", "2 h 5 min": exact, for staff. Never negative. */
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min${s % 60 ? ` ${s % 60} s` : ""}`;
  if (s < 172_800) return `${Math.floor(s / 3600)} h${Math.floor((s % 3600) / 60) ? ` ${Math.floor((s % 3600) / 60)} min` : ""}`;
  return `${Math.floor(s / 86_400)} days`;
}

/** "9:24", the face of a timer. */
export function face(seconds) {
  const s = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}

export const secondsSince = (value, now = Date.now()) => (when(value) ? (now - when(value).getTime()) / 1000 : 0);
export const secondsUntil = (value, now = Date.now()) => -secondsSince(value, now);

/** When a timer is read aloud: at each whole minute and at ten seconds. Null at all other seconds. */
export function readAloud(secondsLeft) {
  const s = Math.ceil(secondsLeft);
  if (s <= 0) return null;
  if (s === 10) return "10 seconds left";
  if (s % 60 === 0) return `${s / 60} ${s === 60 ? "minute" : "minutes"} left`;
  return null;
}

export const count = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

/** "Ms Okafor and Mr Lind" */
export function listed(names) {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}
