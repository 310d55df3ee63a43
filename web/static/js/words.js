// What the product says to the two people in a chat, and to an adult who joins. One place, so that it stays true
// and kind: what happened, why, how long, what they can do.
//
//   ownNote(item, thread, {partner, change, again})   under one's own message that did not go as written
//   eventNote(item, thread, {me, services, actions})  joined, left, paused, resumed, ended, help, support; notes
//   reasonWords(reason, marked) -> {title, text}   why a message was blocked, in words
//   helpWords(state, {me, pressed}) -> {title, text, tone, icon}
//   closedWords(site) -> {title, lead, text}
//
// `me` is "pupil", "mentor" or "adult".

import { el, icon, notice, serviceList } from "./dom.js";

const THANKS = "Thank you for saying it.";
const NOT_IN_TROUBLE = "You’re not in trouble.";

// What was blocked, by the server's stable word. The words of the rule are never shown, only what to do.
const BLOCKED = {
  phone: ["There’s a phone number in it.", "We leave numbers out so nobody can find you outside this chat."],
  email: ["There’s an email address in it.", "We leave addresses out so nobody can find you outside this chat."],
  handle: ["There’s an account name in it.", "We leave those out so nobody can find you outside this chat."],
  link: ["There’s a link in it.", "We leave links out, because we can’t check where they go."],
  address: ["There’s an address in it.", "We leave addresses out so nobody can find you outside this chat."],
  postcode: ["There’s a postcode in it.", "We leave places out so nobody can find you outside this chat."],
  personal: ["There’s something in it that says who or where somebody is.", "We leave that out so nobody can find you outside this chat."],
  personal_data: ["There’s something in it that says who or where somebody is.", "We leave that out so nobody can find you outside this chat."],
  contact: ["It has a way to reach somebody outside this chat.", "We leave those out, to keep you both safe."],
  boundary: ["It asks to meet, swap details or keep a secret.", "We don’t do that here, to keep you both safe."],
  unkind: ["It could hurt the person who reads it.", "You can be as angry as you are. Try saying it another way."],
  abuse: ["It could hurt the person who reads it.", "You can be as angry as you are. Try saying it another way."],
  harassment: ["It could hurt the person who reads it.", "You can be as angry as you are. Try saying it another way."],
  threat: ["It sounds like somebody could get hurt.", "If you’re worried that might happen, tell us. An adult can help."],
  sexual: ["It’s about something this chat can’t be for.", "If something has happened to you, an adult can help. Press Help."],
  unsafe: ["Part of it could put somebody at risk.", "If you need to talk about this, an adult can help. Press Help."],
  mistake: ["It looked like it was sent by mistake.", "You can change it and send it again."],
  ended: ["The chat ended before this one could go.", "Nobody in the chat has read it."],
  other: ["Something in it can’t go as it is.", "You can say it another way."],
  spam: ["It’s the same thing many times.", "You can send it once."],
};

// What the server would not take at all: nobody has read it.
const REFUSED = {
  closed: ["It didn’t go. Nobody has read it.", "The chat isn’t open any more."],
  too_long: ["It’s too long for one message.", "Send it in two."],
  invalid: ["It didn’t go. Nobody has read it.", "There’s something in it that can’t be sent. Write it again in your own words."],
  conflict: ["It didn’t go twice.", "You sent something else at the same moment. Send it again if you still want to."],
  not_a_member: ["It didn’t go. Nobody has read it.", "You’re not in this chat any more."],
  forbidden: ["It didn’t go. Nobody has read it.", "You can’t write here just now."],
};

// The server says "personal"; what is marked tells which kind.
function kindOf(reason, marked) {
  if (reason !== "personal" || !marked) return reason;
  if (marked.replace(/\D/g, "").length >= 7) return "phone";
  if (/\S@\S+\.\S/.test(marked)) return "email";
  if (/https?:|www\.|\w\.(com|co|net|org|gg|io|me)\b/i.test(marked)) return "link";
  return marked.startsWith("@") ? "handle" : reason;
}

export function reasonWords(reason, marked = "") {
  const key = kindOf(String(reason ?? "").split(":")[0], marked);
  const [title, text] = BLOCKED[key] ?? ["Something in it can’t go as it is.", "You can change it, or ask an adult to look again."];
  return { title, text };
}

// Why somebody looks first. Nobody is told what the filter thought, only what is true for them.
const HELD = {
  pupil: {
    unkind: (partner) => `A few words in it could hurt, so somebody looks at it first. ${partner} hasn’t got it yet. You can change it, and you can keep writing.`,
    personal: (partner) => `Something in it could say who or where somebody is, so somebody looks at it first. ${partner} hasn’t got it yet. You can keep writing.`,
    check_failed: (partner) => `We couldn’t check this one the usual way, so a person looks at it. It’s nothing you did. ${partner} hasn’t got it yet. You can keep writing.`,
    language: (partner) => `We aren’t sure that we can check the language this is in, so a person looks at it. It’s nothing you did. ${partner} hasn’t got it yet. You can keep writing.`,
    first_look: (partner) => `Here a person reads every message before it goes out. It’s nothing you did. ${partner} hasn’t got it yet. You can keep writing.`,
    any: (partner) => `${partner} hasn’t got this one yet. You did nothing wrong by writing it. You can keep writing.`,
  },
  mentor: {
    unkind: () => "A few words in it could hurt, so somebody looks at it first. Nobody minds. You can change it now.",
    personal: () => "Something in it could say who or where somebody is, so somebody looks at it first. Nobody minds. You can change it now.",
    adult_first: () => "An adult looks at this one first. It may be near one of the three things we never do. Nobody minds. You can change it now.",
    unsafe: () => "An adult looks at this one first. It may be near one of the three things we never do. Nobody minds. You can change it now.",
    check_failed: () => "We couldn’t check this one the usual way, so a person looks at it. It’s nothing you did. You can keep writing.",
    language: () => "We aren’t sure that we can check the language this is in, so a person looks at it. It’s nothing you did. You can keep writing.",
    first_look: () => "Here a person reads every message before it goes out. It’s nothing you did. You can keep writing.",
    any: (partner) => `Somebody looks at this one before ${partner} gets it. Nobody minds. You can keep writing.`,
  },
};
const CHANGEABLE = { pupil: new Set(["unkind"]), mentor: new Set(["unkind", "personal", "unsafe", "adult_first"]) };

// Under one's own message: held, blocked, withheld, refused. Nothing where the state says enough.
export function ownNote(item, thread, { me = "pupil", change = null, again = null } = {}) {
  const partner = thread.partner?.alias ?? (me === "mentor" ? "They" : "Your supporter");
  if (item.status === "held") {
    if (item.reason === "paused") return null;
    if (item.reason === "second_look") return notice({ tone: "held", icon: "eye", text: `An adult will look at it again and decide. ${partner} hasn’t got it yet. You can keep writing.`, role: "status", more: "system" });
    const role = me === "pupil" ? "pupil" : "mentor";
    const words = HELD[role];
    const text = (words[item.reason] ?? words.any)(partner);
    const can = change && thread.open && CHANGEABLE[role].has(item.reason);
    if (!can) return notice({ tone: "held", icon: "eye", text, role: "status", more: "system" });
    return notice({ tone: "held", icon: "eye", role: "status", more: "system", children: [
      el("p", { text }),
      el("button", { class: "linkbtn", type: "button", dataset: { act: "change" }, onclick: () => change(item), text: "Change it" }),
    ] });
  }
  if (item.status === "refused") {
    const [title, text] = REFUSED[item.reason] ?? ["It didn’t go. Nobody has read it.", "You can try again."];
    return reason(title, text, item, { change: thread.open ? change : null, again: null });
  }
  if (item.status === "withheld" && me === "pupil" && (item.reason === "unsafe" || item.reason === "other") && (thread.help === "has_it" || thread.help === "here")) {
    // What somebody trusted us with was answered by an adult: no words about what is wrong with it.
    return notice({ tone: "adult", icon: "adult", role: "status", more: "system", text: `An adult has read it. ${partner} won’t get this one, so that it’s an adult who helps with it. You did nothing wrong by writing it.` });
  }
  if (item.status === "blocked" || item.status === "withheld") {
    const { title, text } = reasonWords(item.reason, markedText(item));
    if (item.reason === "ended") return reason(title, text, item, { change: null, again: null });
    const decided = item.status === "withheld"; // by a person: final, so there is no third look
    const lead = decided ? `An adult looked, and ${partner} won’t get this one. ${title}` : title;
    return reason(lead, `${text} ${me === "pupil" ? NOT_IN_TROUBLE : "Nobody minds."}${decided ? "" : ` ${partner} hasn’t seen it.`}`, item, { change: thread.open ? change : null, again: decided || !thread.open ? null : again });
  }
  return null;
}

const markedText = (item) => {
  const points = [...(item.text ?? "")];
  return (item.marks ?? []).map(({ start, end }) => points.slice(start, end).join("")).join(" ").trim();
};

function reason(title, text, item, { change, again }) {
  const row = el("div", { class: "row row--wrap row--tight" });
  if (change) row.append(el("button", { class: "btn btn--slim", type: "button", dataset: { act: "change" }, onclick: () => change(item) }, icon("pencil"), "Change it"));
  if (again && item.message) row.append(el("button", { class: "linkbtn", type: "button", dataset: { act: "second-look" }, onclick: () => again(item), text: "Ask an adult to look again" }));
  return el("div", { class: "reason system", role: "status" }, el("p", {}, el("strong", { text: title }), ` ${text}`), row.childElementCount ? row : null);
}

// ---------------------------------------------------------------------------- help: only what is true

export function helpWords(state, { me = "pupil", pressed = false } = {}) {
  if (me === "mentor") {
    switch (state) {
      case "asked":
        return pressed
          ? { tone: "adult", icon: "bell", title: "You’ve asked an adult", text: "It will say here when somebody has it. Stay with them: short, kind answers are enough." }
          : { tone: "held", icon: "eye", title: "An adult is reading something with us", text: "Stay with them. Short, kind answers are enough." };
      case "still_asking":
        return { tone: "warn", icon: "bell", title: "We’re still asking", text: "Nobody has answered yet, and we keep on until somebody does. If a life is at risk, ring 999 now." };
      case "has_it":
        return { tone: "adult", icon: "adult", title: "An adult has this", text: `${pressed ? "You did the right thing. " : ""}It’s not yours alone now. Stay until they’re here, and don’t ask for more details. They will.` };
      default:
        return { tone: "adult", icon: "adult", title: "An adult is here", text: "They can read this chat and write in it. You can let them lead now." };
    }
  }
  switch (state) {
    case "asked":
      return pressed
        ? { tone: "adult", icon: "bell", title: "We’re telling an adult now", text: "It will say here when one of them has it. You don’t have to wait for us: under Help are numbers that answer right now." }
        : { tone: "adult", icon: "adult", title: "We’ve asked an adult at your school to look", text: "You’re not in any trouble. It will say here what happens next." };
    case "still_asking":
      return { tone: "warn", icon: "bell", title: "We’re still asking", text: "Nobody has answered yet, and we keep on until somebody does. If a life is at risk, ring 999 now." };
    case "has_it":
      return { tone: "adult", icon: "adult", title: "An adult at your school has this", text: "You’re not in any trouble. It’s not yours alone now." };
    default:
      return { tone: "adult", icon: "adult", title: "An adult is here", text: "They can read this chat and write to you in it." };
  }
}

// ---------------------------------------------------------------------------- what happened in the chat

const PAUSED = {
  no_adult_on_duty: (partner) => ["We’ve had to pause", `No adult is on duty just now, and we don’t run without one. We go on as soon as one is back. ${partner} sees this too.`],
  default: (partner) => ["An adult has paused the chat", `What you write is kept safe until it goes on. ${partner} sees this too.`],
};

const ENDED = {
  outside_hours: "We’re closed now. You can come back any day we’re open.",
  closing_time: "We’re closed now. You can come back any day we’re open.",
  no_adult_on_duty: "No adult is on duty, and we don’t run without one. You can come back any day we’re open.",
  ended_by_staff: "An adult has ended it. You can come back any day we’re open.",
  closed_by_staff: "We’ve had to close. You can come back any day we’re open.",
  while_away: "It ended while you were away. You can come back any day we’re open.",
};

export function endedWords(why, { partner = "", me = "pupil" } = {}) {
  if (ENDED[why]) return me === "pupil" ? ENDED[why] : ENDED[why].replace(" You can come back any day we’re open.", "");
  if (me === "mentor") return "They’ve gone. Thank you for being there.";
  return `${partner ? `${partner} has gone. ` : ""}You can come back any day we’re open.`;
}

export function eventNote(item, thread, { me = "pupil", pressed = false, services = [], actions = null } = {}) {
  const { frame } = item;
  if (item.kind === "note") return item.node ?? null;
  if (!frame) return null;
  const level = me === "pupil" ? 2 : 3; // under the chat's name, which is the h1 on a pupil's page
  const partner = thread.partner?.alias ?? "The other person";
  const staff = frame.member && frame.member.role !== "pupil" && frame.member.role !== "mentor";
  switch (frame.type) {
    case "joined":
      return staff
        ? notice({ level, tone: "adult", icon: "adult", role: "status", more: "system", title: `${frame.member.alias} has joined`, text: me === "pupil"
          ? "They look after pupils’ safety at your school. They can read this chat. They can’t see your name unless you tell them, or they need it to keep you safe. If that happens, we’ll tell you."
          : "They look after pupils’ safety. They can read this chat and write in it. You can let them lead now." })
        : notice({ level, tone: "plain", icon: "person", role: "status", more: "system", text: `${frame.member.alias} has joined.` });
    case "left":
      if (!thread.open && frame.member.alias === thread.partner?.alias) return null; // "The chat has ended" says it
      return notice({ level, tone: staff ? "adult" : "plain", icon: staff ? "adult" : "person", role: "status", more: "system", text: `${frame.member.alias} has left the chat.` });
    case "paused": {
      if (item.over) return notice({ level, tone: "plain", icon: "pause", more: "system", text: "The chat was paused here." });
      const [title, text] = (PAUSED[frame.why] ?? PAUSED.default)(partner);
      const box = notice({ level, tone: "warn", icon: "pause", role: "status", more: "system", title, text });
      if (me !== "pupil" || !services.length) return box;
      return el("div", { class: "system stack stack-2" }, box, supportCard({ title: "If you need someone meanwhile", services }), actions?.paused?.() ?? null);
    }
    case "resumed":
      return notice({ icon: "tick", role: "status", more: "system", text: thread.items.some((other) => other.mine && other.status === "held" && other.reason === "paused") ? "We’re going again. What you wrote meanwhile goes now." : "We’re going again." });
    case "ended":
      return notice({ level, tone: "plain", icon: "info", role: "status", more: "system", title: "The chat has ended", text: endedWords(frame.why, { partner: thread.partner?.alias, me }) });
    case "help": {
      if (frame.state === "here" && thread.items.some((other) => other.frame?.type === "joined" && other.frame.member.role !== "mentor" && other.frame.member.role !== "pupil")) return null; // said by name already
      const words = helpWords(frame.state, { me, pressed });
      return notice({ ...words, level, role: "status", more: "system" });
    }
    case "support":
      return supportCard({
        title: !frame.text || frame.text.startsWith(THANKS) ? "Thank you for saying it" : "",
        text: (frame.text ?? "").replace(THANKS, "").trim() || "You don’t have to wait for us. These people are there right now, and it’s free.",
        services: frame.services ?? [],
      });
    default:
      return null;
  }
}

export function supportCard({ title = "", text = "", services, level = 2 }) {
  return el("section", { class: "support system stack stack-2", "aria-label": title ? null : "Places to turn" },
    title ? el(`h${level}`, { class: "lead", text: title }) : null, text ? el("p", { text }) : null, serviceList(services));
}

export function closedWords({ why, next_open_text: next }) {
  switch (why) {
    case "no_adult_on_duty":
      return { title: "We’ve had to pause", lead: "No adult is on duty just now, and we don’t run without one.", text: "We go on as soon as one is back. You can wait here, or come back later. These people are there right now:" };
    case "closed_by_staff":
      return { title: "We’re closed just now", lead: next ? `Back ${next}.` : "We’ll be back as soon as we can.", text: "There’s nowhere to leave a message here, because nobody would be there to read it. These people are awake:" };
    default:
      return { title: "We’re closed just now", lead: next ? `Back ${next}.` : "", text: "There’s nowhere to leave a message here, because nobody would be there to read it. These people are awake:" };
  }
}
