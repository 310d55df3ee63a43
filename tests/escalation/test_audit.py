"""Rule 17: whatever is done to the log shows, and the first row that it was done to is named."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalation.audit import GENESIS, Checkpoint, Entry, chained, verify

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
    found = verify(entries, checkpoint=checkpoint)[2]
    return None if found is None else found.n


def test_rule_17_an_untouched_log_holds():
    assert verify(LOG) == (ROWS, HEAD, None)
    assert verify([]) == (0, GENESIS, None)


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
