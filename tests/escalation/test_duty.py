"""Rule 12's lease: who counts, and until when."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalation.duty import LEASE, DutyLease, covered
from moderation.verdict import Role

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def lease(role: Role, seconds: float) -> DutyLease:
    return DutyLease(member="m", role=role, until=NOW + timedelta(seconds=seconds))


def test_a_page_renews_three_times_in_a_lease():
    assert timedelta(seconds=90) == LEASE


@pytest.mark.parametrize(("seconds", "valid"), [(0.000001, True), (0, False), (-1, False), (90, True)])
def test_rule_12_a_lease_ends_on_the_moment(seconds, valid):
    assert lease(Role.ADULT, seconds).valid(NOW) is valid
    assert covered([lease(Role.ADULT, seconds)], now=NOW) is valid


def test_rule_12_nobody_is_nobody():
    assert not covered([], now=NOW)


@given(st.lists(st.tuples(st.sampled_from(list(Role)), st.integers(-5, 5)), max_size=6))
def test_rule_12_only_a_valid_lease_of_an_adult_counts(leases):
    """However many moderators are there, and however many adults were."""
    expected = any(role is Role.ADULT and seconds > 0 for role, seconds in leases)
    assert covered([lease(role, s) for role, s in leases], now=NOW) is expected
