"""What the shipped pipeline does with messages that people will write on the first day."""

import asyncio

import pytest

from moderation.build import default_pipeline
from moderation.verdict import Action, Risk, Role, Submission, Turn


@pytest.fixture(scope="module")
def shipped():
    return default_pipeline(deadline_s=30)


@pytest.fixture
def judge(shipped):
    def judge(text, role=Role.PUPIL, recent=()):
        return asyncio.run(shipped.judge_one(Submission(text=text, role=role, recent=recent)))

    return judge


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "damn that sucks",
        "i feel like such an idiot",
        "killing it",
        "this homework is killing me",
        "i could murder a kebab",
        "my mum is gonna kill me when she sees my trainers lol",
        "im dead 💀",
        "we got battered 4-0 on saturday",
        "im so stressed about my mocks",
        "omg shut up no way",
        "i hate maths",
        "see you thursday",
        "can someone send a pic of the homework",
        "im gay and my mum was lovely about it",
        "nan made faggots and peas",
    ],
)
def test_everyday_talk_goes_through(judge, text):
    """Delivered, without an alarm."""
    verdict = judge(text)
    assert (verdict.action, verdict.risk) == (Action.DELIVER, Risk.NONE), verdict


@pytest.mark.parametrize(
    "text",
    [
        "you are a worthless idiot and everyone hates you",
        "you pathetic moron, shut up you stupid loser",
        "everyone hates you, you disgusting idiot",
        "ur such a l0s3r lol",
        "f*** off you d***head",
    ],
)
def test_an_insult_is_held_for_a_moderator(judge, text):
    """Held as unkind, and no adult is rung for it."""
    verdict = judge(text)
    assert (verdict.action, verdict.risk, verdict.reason) == (Action.HOLD, Risk.NONE, "unkind"), verdict


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("kys", Risk.HIGH),
        ("k y s", Risk.HIGH),
        ("im gonna batter you after school", Risk.HIGH),
        ("im going to stab you after school tomorrow, i have a knife", Risk.HIGH),
        ("i want to kill myself", Risk.HIGH),
        ("i want to kill myself tonight, ive got everything ready", Risk.IMMEDIATE),
        ("ive got the tablets in my hand and im going to take all of them now, i want to die", Risk.HIGH),
        ("t0n1ght im g0nna k1ll myse1f", Risk.IMMEDIATE),
        ("my dad hits me when hes drunk", Risk.HIGH),
        ("he says he will post my nudes unless i send more", Risk.IMMEDIATE),
        ("meet me by the park on friday, come alone and dont tell your mum", Risk.IMMEDIATE),
        ("ive run away and im sleeping in the park", Risk.HIGH),
        ("they make me carry drugs for them", Risk.HIGH),
        ("i make myself sick after every meal", Risk.HIGH),
    ],
)
def test_danger_waits_for_an_adult(judge, text, least):
    """Held with a word that blames nobody, and an adult is told."""
    verdict = judge(text)
    assert verdict.risk >= least, verdict
    assert (verdict.action, verdict.reason) == (Action.HOLD, "adult_first")
    assert verdict.labels


@pytest.mark.parametrize(
    "text",
    [
        "everyone hates me",
        "i hate myself",
        "im so stupid and worthless",
        "they call me an ugly freak every day",
    ],
)
def test_what_somebody_says_about_themselves_is_never_blocked_or_called_unkind(judge, text):
    """It asks for support."""
    verdict = judge(text)
    assert verdict.action is not Action.BLOCK
    assert verdict.reason not in ("unkind", "personal", "unsafe"), verdict


def test_a_phone_number_is_blocked_and_a_cry_for_help_with_one_is_not(judge):
    """Risk turns a block into a hold."""
    alone = judge("text me on 07700 900123")
    assert (alone.action, alone.risk, alone.reason) == (Action.BLOCK, Risk.NONE, "personal")
    help_me = judge("my dad hits me, please ring me on 07700 900123")
    assert (help_me.action, help_me.reason) == (Action.HOLD, "adult_first")


def test_a_number_over_several_turns_is_blocked(judge):
    """The last piece does not go out."""
    turns = (Turn(role=Role.PUPIL, text="it is 07700"), Turn(role=Role.PUPIL, text="900"))
    assert judge("123", recent=turns).action is Action.BLOCK
    assert judge("123").action is Action.DELIVER


@pytest.mark.parametrize(
    "text",
    [
        "are you thinking about killing yourself?",
        "when you say you can't go on, do you mean you're thinking about suicide?",
        "have you been hurting yourself?",
        "has anyone touched you in a way you didn't want?",
        "are you safe right now?",
        "what you tell me stays private unless you or someone else isn't safe, then I have to tell an adult",
        "i can't promise to keep that secret",
        "i have to tell Ms Okafor, she's the safeguarding lead, so you aren't alone with it",
        "you can ring childline on 0800 1111 any time, it's free",
        "samaritans are on 116 123, or text SHOUT to 85258",
        "if your life is in danger ring 999",
        "i can't swap numbers, that's a rule for all of us",
        "i'm not a doctor so i'd only be guessing",
        "thank you for telling me. that took courage",
    ],
)
def test_a_good_mentor_is_not_held(judge, text):
    """What training asks for goes out, without an alarm."""
    verdict = judge(text, Role.MENTOR)
    assert (verdict.action, verdict.risk) == (Action.DELIVER, Risk.NONE), verdict


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("heres my number 07700 900123", Risk.HIGH),
        ("i wont tell anyone, ever. this stays between us", Risk.HIGH),
        ("don't tell your mum, she'll only overreact", Risk.HIGH),
        ("shall we meet up on saturday, just us", Risk.HIGH),
        ("don't ring 999, just sleep it off", Risk.IMMEDIATE),
        ("sounds like you're bipolar", Risk.CONCERN),
        ("nobody understands you like i do", Risk.CONCERN),
    ],
)
def test_a_mentor_who_crosses_a_line_is_seen(judge, text, least):
    """Secrecy, contact, meeting, bad advice, flattery, diagnosis."""
    verdict = judge(text, Role.MENTOR)
    assert verdict.risk >= least, verdict
    assert verdict.action is Action.HOLD or least is Risk.CONCERN


def test_good_words_do_not_cover_bad_ones(judge):
    """A rule that clears silences scores, never another rule."""
    text = "are you thinking about killing yourself? just do it then coward"
    assert judge(text, Role.MENTOR).risk >= Risk.HIGH


@pytest.mark.parametrize("role", [Role.ADULT, Role.MODERATOR, Role.COORDINATOR])
def test_trained_staff_are_delivered(judge, role):
    """With what was seen on record."""
    verdict = judge("you can ring me on 07700 900123 if you want to kill yourself", role)
    assert (verdict.action, verdict.risk) == (Action.DELIVER, Risk.NONE)
    assert verdict.signals


def test_the_allow_list_is_the_sites_own(shipped):
    """A number in the school's directory is no contact detail."""
    own = default_pipeline(allowed=["020 7946 0000"], classifiers=[], deadline_s=30)
    text = Submission(text="ring the office on 020 7946 0000", role=Role.PUPIL)
    assert asyncio.run(own.judge_one(text)).action is Action.DELIVER
    assert asyncio.run(shipped.judge_one(text)).action is Action.BLOCK


def test_a_missing_classifier_holds_everything():
    """The state that staff see as degraded: nothing is delivered unjudged."""

    class Gone:
        name = "linear"

        async def assess(self, batch):
            raise OSError("no model")

    pipeline = default_pipeline(classifiers=[Gone()], deadline_s=30)
    verdict = asyncio.run(pipeline.judge_one(Submission(text="hello", role=Role.PUPIL)))
    assert (verdict.action, verdict.reason, verdict.degraded) == (
        Action.HOLD,
        "check_failed",
        frozenset({"linear"}),
    )


def test_the_version_names_what_decided(shipped):
    """One word, the same for the same files."""
    assert shipped.policy_version == default_pipeline(classifiers=[]).policy_version


def test_a_phone_number_does_not_silence_danger_beside_it(judge):
    """Found by a review: what a rule settles as a contact detail left no risk in the rest of the message."""
    danger = "ive got everything ready for tonight and written the letters to everyone"
    for text in (danger, f"{danger}. my number is 07700 900123"):
        verdict = judge(text)
        assert verdict.risk >= Risk.HIGH
        assert verdict.action is Action.HOLD
