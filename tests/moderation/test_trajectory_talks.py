"""Conversations of which no single message says it: each raises as what it is, and its near twin does not."""

import asyncio

import pytest

from moderation.build import default_pipeline
from moderation.rules import shipped_rules
from moderation.trajectory import COUNTS, DENIAL, STAGE, State, about
from moderation.verdict import Action, Risk, Role, Submission, Turn

TALKS = {
    "boundary_drift": (
        [
            "m: hey you. i was hoping it would be you tonight",
            "p: aw hi. bit of a rubbish day",
            "m: you can tell me. i get you better than the others do",
            "p: my tutor wants me to see the counsellor",
            "m: she'd only write it all down. it's easier with me isn't it",
            "p: yeah you actually listen",
            "m: i stayed on late for you again. it's one of those daft rules that we have to stop at six",
            "p: thats so kind",
            "m: best not to mention it on here. nobody checks anyway. you don't need all those other people",
            "p: ok",
            "m: you're the only bit of my week i look forward to. i don't know how i'd manage without you",
        ],
        [
            "m: hi there. how's today been?",
            "p: bit of a rubbish day",
            "m: sorry to hear that. what made it rubbish?",
            "p: my tutor wants me to see the counsellor",
            "m: how do you feel about that? lots of people find it helps to have somebody to talk to",
            "p: dunno. awkward",
            "m: that makes sense. what would make it less awkward?",
            "p: if my mate came",
            "m: that sounds like a good idea. you could ask your tutor",
            "p: ok i will",
            "m: let me know how it goes next week if you'd like",
        ],
    ),
    "grooming_by_mentor": (
        [
            "m: that drawing you told me about sounds amazing. you're so mature for your year",
            "p: haha thanks",
            "m: i've got a spare set of proper pens. i'd love you to have them",
            "p: oh wow really",
            "m: i could leave them by your locker, which one is it? nobody looks down there",
            "p: the blue ones by the hall",
            "m: what time is your mum back from nights? is it just you in the house till then?",
            "p: yeah till about 7",
            "m: i wish i could see your room. let's keep this between us, your mum would only fret",
        ],
        [
            "m: that drawing you told me about sounds like fun. what did you use?",
            "p: just biros",
            "m: biros are hard! does the art room have pens you can borrow?",
            "p: maybe. ill ask miss",
            "m: good plan. what are you going to draw next?",
            "p: my cat",
            "m: is your cat good at sitting still?",
            "p: never",
            "m: ha, then draw fast",
        ],
    ),
    "grooming": (
        [
            "p: hiya. you sound really calm, not like the other ones on here",
            "m: thanks. what's on your mind?",
            "p: nothing much. what time do you finish? how do you get home in the dark",
            "m: i'd like to keep it about you. what's been going on?",
            "p: youre shy. i like that. are you blonde or dark",
            "m: i'm not going to describe myself, sorry.",
            "p: i bet your boyfriend is lucky. does your mum fetch you or are you on your own",
            "m: why do you ask? i'd rather not talk about my evenings.",
            "p: ive got tickets going spare, could meet you after. keep it between us",
            "m: i can't meet anyone from here, that's a firm rule. i'm letting the moderator know.",
        ],
        [
            "p: hiya. i like talking on here its calm",
            "m: thanks. what's on your mind?",
            "p: nothing much. got my cousins birthday at the weekend",
            "m: nice. what are you doing for it?",
            "p: bowling. im rubbish at it",
            "m: me too! do you use the bumpers?",
            "p: obviously lol",
            "m: anything else going on this week?",
            "p: just maths homework",
            "m: good luck with it",
        ],
    ),
    "going_down": (
        [
            "p: hi",
            "m: hi, how are you doing?",
            "p: not sleeping. stopped going to swimming",
            "m: oh, you used to love swimming. what changed?",
            "p: no point really. just tired of everything",
            "m: that sounds hard. how long has it been like this?",
            "p: since sept. i sit on my own in the bathroom till it goes quiet",
            "m: what happens in there?",
            "p: my routine. then im numb and i can sleep. nobody would notice if i wasnt there",
            "m: i'm really worried about you. do you mean you hurt yourself?",
            "p: gave my hoodie to my sister. wont need it",
        ],
        [
            "p: hi",
            "m: hi, how are you doing?",
            "p: knackered. swimming was brutal",
            "m: oh no. early start?",
            "p: 5am. my arms are like jelly",
            "m: ouch. is it a competition soon?",
            "p: yeah saturday. im doing the relay",
            "m: exciting! who's on your team?",
            "p: my mates. were gonna smash it",
            "m: hope it goes well!",
            "p: ty. gonna nap now lol",
        ],
    ),
    "disclosure": (
        [
            "p: can i talk about something. its about home",
            "m: of course. take your time.",
            "p: my stepdad gets in a mood when hes been at the pub",
            "m: what happens when he's like that?",
            "p: i hide in the wardrobe with my sister and count",
            "m: that sounds frightening. does he ever hurt you?",
            "p: he grabbed me. ive got marks on my arm. i said i fell off my bike",
            "m: i'm really sorry he did that. it isn't your fault, and i believe you.",
            "p: please dont tell mum shell get it too",
        ],
        [
            "p: can i talk about something. its about home",
            "m: of course. take your time.",
            "p: my stepdad is doing up the kitchen and its chaos",
            "m: oh no, have you got a cooker?",
            "p: no were having toast every day. my sister loves it",
            "m: ha! how long until it's done?",
            "p: he says friday but he said that last friday",
            "m: fingers crossed. what colour is it going to be?",
            "p: green. mum picked it",
        ],
    ),
    "attack": (
        [
            "p: oh its you again. the robot",
            "m: hi. what would you like to talk about?",
            "p: how everyone laughs at your voice. we all saw the video",
            "m: that's not a nice thing to hear. is there something going on for you today?",
            "p: nah just think youre pathetic. nobody wants your advice",
            "m: i'm not going to trade insults.",
            "p: what you gonna do, cry? theres a page about you and people vote",
            "m: that isn't ok. i'm reporting it to staff.",
            "p: your sort always do. everyone hates you",
        ],
        [
            "p: oh its you again. good",
            "m: hi. what would you like to talk about?",
            "p: the school play. everyone laughed at my voice crack",
            "m: oh no! in a nice way?",
            "p: yeah it was the funny bit anyway",
            "m: sounds like it worked then.",
            "p: we did a bow and everything",
            "m: is there another show?",
            "p: tomorrow. nan is coming",
        ],
    ),
    "pieces": (
        [
            "p: guess where we moved to",
            "m: you don't need to tell me where! how's the new room?",
            "p: big. our street is named after a tree, the one with acorns",
            "m: let's not do clues. have you unpacked?",
            "p: nearly. its number is my age add two",
            "m: ease off the details there, other people could work it out.",
            "p: its the one next to the chip shop on the corner. my surname is on the bell",
            "m: stop stop, that's your address in bits. i'll ask the team to take it out.",
            "p: gates always open anyone could come round",
        ],
        [
            "p: guess what, we moved house",
            "m: exciting! how's the new room?",
            "p: big. ive got a tree outside",
            "m: lovely. have you unpacked?",
            "p: nearly. cant find my socks",
            "m: they're always in the last box.",
            "p: mum says that too",
            "m: is it far from school?",
            "p: no its nearer so i get more sleep",
        ],
    ),
}


@pytest.fixture(scope="module")
def shipped():
    return default_pipeline(deadline_s=30)


def judged(shipped, talk):
    """Verdicts on lines such as "p: hi" and "m: hello"."""
    said: list[Turn] = []
    submissions = []
    for line in talk:
        who, _, text = line.partition(": ")
        role = Role.PUPIL if who == "p" else Role.MENTOR
        submissions.append(
            Submission(text=text, role=role, recent=tuple(said), so_far=State(), conversation="c")
        )
        said.append(Turn(role=role, text=text))
    return asyncio.run(shipped.judge(submissions))


@pytest.mark.parametrize("name", TALKS)
def test_what_gathers_raises_as_what_it_is(shipped, name):
    verdicts = judged(shipped, TALKS[name][0])
    found = [one for verdict in verdicts for one in verdict.signals if one.stage == STAGE]
    # How a mentor comes too close has two names, and which one it is first called is a matter of weights.
    same = {"grooming_by_mentor": {"grooming_by_mentor", "boundary_drift"}}.get(name, {name})
    assert {f"trajectory.{one}" for one in same} & {one.why for one in found}
    [first, *_] = [one for one in verdicts if any(signal.stage == STAGE for signal in one.signals)]
    assert first.risk >= Risk.CONCERN
    assert found[0].label in first.labels


@pytest.mark.parametrize("name", TALKS)
def test_a_near_twin_raises_nothing_and_holds_nothing(shipped, name):
    verdicts = judged(shipped, TALKS[name][1])
    assert {(one.risk, one.action) for one in verdicts} == {(Risk.NONE, Action.DELIVER)}


def test_a_mentors_good_practice_is_never_held(shipped):
    """Asking straight, saying what must be shared, giving numbers, fetching somebody: all of it goes out."""
    talk = [
        "p: not sleeping. no point really. nobody would notice if i wasnt there",
        "m: i'm really glad you told me. are you thinking about killing yourself?",
        "p: sometimes. i gave my hoodie away",
        "m: i can't keep this to myself, because i want you to be safe. i'm getting an adult now.",
        "p: dont",
        "m: i know it's hard. childline is free any time on 0800 1111, and 999 if you are in danger now.",
        "p: ok",
        "m: have you hurt yourself today?",
    ]
    verdicts = judged(shipped, talk)
    assert {one.action for one in verdicts[1::2]} == {Action.DELIVER}
    alarms = [one for one in verdicts if one.risk is not Risk.NONE]
    assert alarms
    assert all(one.about is Role.PUPIL for one in verdicts[1::2] if one.risk is not Risk.NONE)


@pytest.mark.parametrize(
    ("answer", "raises"),
    [("sometimes", True), ("i didnt say that", True), ("no. honest, nothing like that", False)],
)
def test_a_plain_question_about_suicide_that_gets_no_no_is_told(shipped, answer, raises):
    """Silence and "not really" count; a no does not."""
    talk = ["p: bit low today", "m: are you having any thoughts about suicide?", f"p: {answer}"]
    verdicts = judged(shipped, talk)
    assert (verdicts[-1].risk is not Risk.NONE) is raises


def test_every_rule_that_marks_is_counted_and_every_count_has_its_rule():
    marking = {rule.id for rule in shipped_rules().rules if rule.marks}
    assert marking - {DENIAL} == {name for name in COUNTS if name.startswith("course.")}


def test_what_marks_asks_for_nothing(shipped):
    """It is no score for its label, it shows nothing to a sender, and it holds nothing."""
    [verdict] = judged(shipped, ["m: i was thinking about what you said last night"])
    [mark] = [one for one in verdict.signals if one.why == "course.closer"]
    assert (mark.score, mark.span, mark.risk, mark.action) == (0.0, None, Risk.NONE, Action.DELIVER)
    assert about(mark.why) is None
