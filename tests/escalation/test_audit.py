"""Rule 17: whatever is done to the log shows, and the first row that it was done to is named."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from escalation.audit import (
    GENESIS,
    START,
    BadCheckpoint,
    Checkpoint,
    Entry,
    Verdict,
    chained,
    genuine,
    parsed,
    public_key,
    signed,
    verify,
)

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
ROWS = 9


def chain(entries: list[Entry], previous: str = GENESIS) -> list[Entry]:
    """Return the entries with numbers and hashes as if they had been written so."""
    made = []
    for n, entry in enumerate(entries, start=1):
        previous = chained(
            previous,
            n=n,
            at=entry.at,
            actor=entry.actor,
            kind=entry.kind,
            object=entry.object,
            data=entry.data,
        )
        made.append(replace(entry, n=n, hash=previous))
    return made


def entry(n: int) -> Entry:
    return Entry(
        n=n,
        at=NOW + timedelta(seconds=n),
        actor=f"mem_{n % 3}",
        kind="read_case",
        object=f"alr_{n}",
        data={"count": n, "whole": n % 2 == 0, "score": n / 7, "none": None, "word": "é"},
        hash="",
    )


LOG = chain([entry(n) for n in range(1, ROWS + 1)])
HEAD = LOG[-1].hash


def fault(entries, checkpoint=None):
    """Return the row that verify names, or None."""
    found = verify(entries, checkpoints=[checkpoint] if checkpoint is not None else []).fault
    return None if found is None else found.n


def test_rule_17_an_untouched_log_holds():
    assert verify(LOG) == Verdict(head=Checkpoint(n=ROWS, hash=HEAD))
    assert verify([]) == Verdict(head=START)


@pytest.mark.parametrize("n", range(ROWS))
@pytest.mark.parametrize(
    "change",
    [
        {"actor": "mem_x"},
        {"kind": "read_whole"},
        {"object": "alr_x"},
        {"at": NOW + timedelta(days=1)},
        {"data": {}},
        {"data": {"count": 0}},
        {"hash": "0" * 64},
    ],
    ids=["actor", "kind", "object", "at", "no data", "other data", "hash"],
)
def test_rule_17_a_changed_row_is_named(n, change):
    assert fault([*LOG[:n], replace(LOG[n], **change), *LOG[n + 1 :]]) == n + 1


@pytest.mark.parametrize("n", range(ROWS - 1))
def test_rule_17_a_deleted_row_is_named(n):
    """Also where those after it are numbered anew."""
    left = LOG[:n] + LOG[n + 1 :]
    assert fault(left) == n + 1
    assert fault([replace(e, n=i) for i, e in enumerate(left, start=1)]) == n + 1


@pytest.mark.parametrize("n", range(ROWS - 1))
def test_rule_17_two_rows_in_another_order_are_named(n):
    swapped = [*LOG[:n], LOG[n + 1], LOG[n], *LOG[n + 2 :]]
    assert fault(swapped) == n + 1
    assert fault([replace(e, n=i) for i, e in enumerate(swapped, start=1)]) == n + 1


@pytest.mark.parametrize("n", range(ROWS))
def test_rule_17_an_inserted_row_is_named(n):
    """A copy, or one that was made up with a right hash of its own."""
    assert fault([*LOG[:n], LOG[n], *LOG[n:]]) == n + 2
    previous = LOG[n - 1].hash if n else GENESIS
    made_up = chain([*LOG[:n], replace(entry(99), actor="mem_x")])[-1]
    assert made_up.hash != previous
    inserted = [*LOG[:n], made_up, *(replace(e, n=e.n + 1) for e in LOG[n:])]
    assert fault(inserted) == n + 2


@pytest.mark.parametrize("n", range(ROWS))
def test_rule_17_a_shorter_log_shows_against_a_checkpoint(n):
    """Without one nobody could know; with one the first missing row is named."""
    assert fault(LOG[:n]) is None
    assert fault(LOG[:n], Checkpoint(n=ROWS, hash=HEAD)) == n + 1
    assert fault(LOG, Checkpoint(n=n, hash=LOG[n - 1].hash if n else GENESIS)) is None


@pytest.mark.parametrize("n", range(ROWS))
def test_rule_17_a_rewritten_log_shows_against_a_checkpoint(n):
    """Every hash made anew from one row on: the chain holds, the kept head does not."""
    rewritten = chain([*LOG[:n], replace(LOG[n], actor="mem_x"), *LOG[n + 1 :]])
    assert fault(rewritten) is None
    for kept in range(n, ROWS):
        assert fault(rewritten, Checkpoint(n=kept + 1, hash=LOG[kept].hash)) == kept + 1
    for kept in range(1, n + 1):
        assert fault(rewritten, Checkpoint(n=kept, hash=LOG[kept - 1].hash)) is None


def test_the_same_moment_in_another_zone_is_the_same_row():
    """What is hashed is the moment, not how a database hands it back."""
    elsewhere = [replace(e, at=e.at.astimezone(timezone(timedelta(hours=9)))) for e in LOG]
    assert fault(elsewhere) is None


def test_the_order_of_keys_is_no_content():
    assert fault([replace(e, data=dict(reversed(list(e.data.items())))) for e in LOG]) is None


words = st.text(st.characters(codec="utf-8"), max_size=12)


@given(
    words, words, words, st.dictionaries(words, st.integers() | words | st.booleans() | st.none(), max_size=3)
)
def test_no_two_rows_have_one_hash(actor, kind, object, data):
    """Where a field ends and the next begins is part of it."""
    args = {"n": 1, "at": NOW, "actor": actor, "kind": kind, "object": object, "data": data}
    one = chained(GENESIS, **args)
    assert one == chained(GENESIS, **args)
    for moved in (
        {"actor": actor + kind, "kind": ""},
        {"kind": kind + object, "object": ""},
        {"n": 2},
        {"data": {**data, "x": 1, "y": 2}},
    ):
        if any(args[name] != value for name, value in moved.items()):
            assert chained(GENESIS, **{**args, **moved}) != one
    assert chained(one, **args) != one


# -- checkpoints, and where a fault lies between two of them


def kept(*rows: int) -> list[Checkpoint]:
    return [Checkpoint(n=n, hash=LOG[n - 1].hash) for n in rows]


def test_rule_17_a_rewritten_log_is_found_between_two_checkpoints():
    """The last that fits and the first that does not: the change lies between them."""
    rewritten = chain([*LOG[:4], replace(LOG[4], actor="mem_x"), *LOG[5:]])
    found = verify(rewritten, checkpoints=kept(2, 4, 7, 9))
    assert found.fault is not None and (found.fault.after, found.fault.n) == (4, 7)
    assert found.proven == kept(4)[0]


def test_rule_17_a_log_that_was_rolled_back_says_how_much_is_gone():
    found = verify(LOG[:6], checkpoints=kept(3, 9))
    assert found.fault is not None and (found.fault.after, found.fault.n) == (6, 7)
    assert "9 rows" in found.fault.what and found.proven == kept(3)[0]


def test_two_checkpoints_of_one_row_that_differ_cannot_both_be_met():
    assert verify(LOG, checkpoints=[*kept(5), Checkpoint(n=5, hash="0" * 64)]).fault is not None


@pytest.mark.parametrize("n", range(ROWS))
def test_a_walk_may_begin_at_any_row_that_is_sure(n):
    start = kept(n)[0] if n else START
    assert verify(LOG[n:], start=start) == Verdict(head=kept(ROWS)[0], proven=start)
    assert verify(LOG[n + 1 :], start=start).fault is not None or n + 1 >= ROWS


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def test_a_signed_checkpoint_is_one_line_and_comes_back_the_same():
    made = signed(kept(5)[0], KEY, at=NOW)
    assert parsed(made.line()) == made and "\n" not in made.line()
    assert genuine(made, public_key(KEY))


@pytest.mark.parametrize(
    "change",
    [
        {"n": 6},
        {"hash": "0" * 64},
        {"at": NOW + timedelta(seconds=1)},
        {"signature": ""},
        {"signature": "é"},
        {"signature": "A" * 88},
    ],
    ids=["n", "hash", "at", "no signature", "nonsense", "another signature"],
)
def test_a_signature_holds_for_what_was_signed_alone(change):
    assert not genuine(replace(signed(kept(5)[0], KEY, at=NOW), **change), public_key(KEY))


def test_the_key_that_a_checkpoint_names_proves_nothing():
    other = signed(kept(5)[0], Ed25519PrivateKey.generate(), at=NOW)
    assert not genuine(other, public_key(KEY))
    assert not genuine(replace(other, key=public_key(KEY)), public_key(KEY))
    assert not genuine(other, "nonsense")


RIGHT = {"n": 1, "hash": HEAD, "at": NOW.isoformat(), "key": "k", "signature": "s"}


def test_a_line_without_a_signature_is_a_bare_checkpoint():
    assert parsed(json.dumps({"n": 1, "hash": HEAD})) == Checkpoint(n=1, hash=HEAD)


@pytest.mark.parametrize(
    "change",
    [{"n": "1"}, {"n": True}, {"n": -1}, {"hash": "zz"}, {"hash": 3}, {"at": 3}, {"at": "soon"}],
    ids=str,
)
def test_what_is_no_checkpoint_is_refused(change):
    parsed(json.dumps(RIGHT))
    with pytest.raises(BadCheckpoint):
        parsed(json.dumps(RIGHT | change))


@pytest.mark.parametrize("line", ["", "[]", "{}", "null", '{"n": 1}', '{"hash": "00"'])
def test_a_line_of_something_else_is_refused(line):
    with pytest.raises(BadCheckpoint):
        parsed(line)
