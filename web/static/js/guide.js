// The supporter's guide: a few steps and words for each kind of conversation, in the project's own words.
//
//   guideFor(topics) -> {title, steps: [[lead, rest]], phrases: [..]}

const ANY = [
  "It makes sense that you feel like that.",
  "Thank you for telling me.",
  "What would you like to be different?",
  "Who else is on your side?",
  "Are you safe where you are now?",
];

const GUIDES = [
  {
    words: ["friend", "left out", "falling out"],
    title: "When it’s about friends",
    steps: [
      ["Hear it.", "Say back what they told you."],
      ["Don’t take sides.", "You don’t know the others."],
      ["Ask what they want.", "Not what you would do."],
      ["One small step.", "Today or tomorrow."],
    ],
    phrases: ["It makes sense that you feel like that.", "What would you like to be different?", "Who else is on your side?", "What could you say to one of them?"],
  },
  {
    words: ["unkind", "bully", "mean"],
    title: "When someone is unkind",
    steps: [
      ["Believe it.", "It took something to say."],
      ["It’s not their fault.", "Say so in plain words."],
      ["Ask how long, and who knows.", "Not every detail."],
      ["An adult can stop it.", "Ask which one they would trust. If they’re being hurt, tell an adult now."],
    ],
    phrases: ["That’s not OK, and it’s not your fault.", "Does anybody else know about this?", "Which adult at school would you trust with it?", "Are you safe where you are now?"],
  },
  {
    words: ["home", "family"],
    title: "When it’s about home",
    steps: [
      ["Go slowly.", "They may not have said it before."],
      ["Don’t judge the family.", "They may love them very much."],
      ["Ask if they’re safe.", "Now, and tonight."],
      ["Never alone with this.", "If anybody gets hurt or is frightened, tell an adult now."],
    ],
    phrases: ["That sounds like a lot to carry.", "Are you safe to go home today?", "Is there a grown-up you feel OK with?", "You were right to tell someone."],
  },
  {
    words: ["school work", "exam", "homework", "work"],
    title: "When it’s about school work",
    steps: [
      ["Feelings first.", "Then the work."],
      ["Find the one worst thing.", "Not the whole pile."],
      ["Make it small.", "What would fit in ten minutes?"],
      ["Who can help?", "A teacher, a form tutor, a friend."],
    ],
    phrases: ["Which bit worries you most?", "What would make tomorrow a bit easier?", "Which teacher could you ask?", "You don’t have to do it all tonight."],
  },
  {
    words: ["online", "phone", "internet"],
    title: "When it happened online",
    steps: [
      ["No blame.", "Anybody can be caught out."],
      ["Don’t ask to see it.", "No pictures, links or names here."],
      ["Keep, don’t answer.", "They can keep what was sent, and stop replying."],
      ["Pictures or threats?", "Tell an adult now. They know how to get things taken down."],
    ],
    phrases: ["You’re not in trouble for telling me.", "You don’t have to answer them.", "Would you let an adult help to get it taken down?", "Does anybody else know?"],
  },
  {
    words: ["worr", "stress", "anxious", "sleep"],
    title: "When worries take over",
    steps: [
      ["Stay calm and slow.", "Short, kind answers."],
      ["Let them name it.", "Never say what is wrong with them."],
      ["What helps a little?", "They know more than they think."],
      ["Getting worse?", "If they say they can’t go on, tell an adult now and stay."],
    ],
    phrases: ["It makes sense that you feel like that.", "When is it a little easier?", "What has helped before, even a bit?", "Are you thinking about hurting yourself? You can tell me."],
  },
  {
    words: ["change", "moving", "loss", "died"],
    title: "When something big has changed",
    steps: [
      ["Let it be sad.", "You don’t have to mend it."],
      ["Ask about before.", "If they’d like to tell you."],
      ["What stays the same?", "A place, a person, a habit."],
      ["One thing for tomorrow.", "Small is fine."],
    ],
    phrases: ["I’m sorry. That’s a lot.", "What do you miss most?", "What has stayed the same?", "Who looks after you in this?"],
  },
  {
    words: ["being me", "me", "who i am", "identity"],
    title: "When it’s about being themselves",
    steps: [
      ["Use their words.", "Don’t give them a name for it."],
      ["Thank them.", "Telling it is brave."],
      ["It’s theirs to tell.", "Don’t push them to tell anybody."],
      ["Somebody in their corner.", "Ask who is."],
    ],
    phrases: ["Thank you for trusting me with that.", "You don’t have to decide anything today.", "Who is in your corner?", "What would feel right for you?"],
  },
];

const GENERAL = {
  title: "Any chat",
  steps: [
    ["Hear it.", "Say back what they told you."],
    ["Ask, don’t tell.", "One question at a time."],
    ["Ask what they want.", "Not what you would do."],
    ["One small step.", "Today or tomorrow."],
  ],
  phrases: ANY,
};

export function guideFor(topics = []) {
  for (const topic of topics) {
    const low = topic.toLowerCase();
    const found = GUIDES.find((guide) => guide.words.some((word) => low.includes(word)));
    if (found) return found;
  }
  return GENERAL;
}
