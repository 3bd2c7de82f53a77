"""Whose session it is, and whether it is the first of its profile."""

from typing import Any

import pytest

from sessions import (
    InvalidValue,
    LimitExceeded,
    OpenSession,
    ProfileChanged,
    SessionOpened,
    SetProfile,
)
from sessions.claims import Claim, Usage, first_session, released_by, taken_by
from sessions.decide import asks
from sessions.errors import Refused
from tests.scenario import OPENED, given

FREE = Usage()
TAKEN = Usage(count=1)
OURS = Usage(count=1, held=True)
FIRST = SessionOpened(first_session=True, profile_id="cust-7")


def test_the_first_session_of_a_profile_claims_it() -> None:
    opening = given().when(OpenSession(profile_id="cust-7"), used=FREE)
    opening.then(FIRST)
    assert opening.decide().claims == [Claim("first-session:cust-7", 1)]


def test_a_later_session_of_a_profile_is_not_its_first_and_claims_nothing() -> None:
    opening = given().when(OpenSession(profile_id="cust-7"), used=TAKEN)
    opening.then(SessionOpened(first_session=False, profile_id="cust-7"))
    assert opening.decide().claims == []


def test_an_anonymous_session_is_always_a_first_one_and_claims_nothing() -> None:
    opening = given().when(OpenSession(), used=TAKEN)
    opening.then(OPENED)
    assert opening.decide().claims == []


def test_attaching_a_profile_decides_anew() -> None:
    later = SessionOpened(first_session=False, profile_id="cust-6")
    attaching = given(later).when(SetProfile(profile_id="cust-7"), used=FREE)
    attaching.then(ProfileChanged("cust-6", "cust-7", first_session=True))
    assert attaching.decide().claims == [Claim("first-session:cust-7", 1)]
    assert attaching.after().first_session

    taken = given(FIRST).when(SetProfile(profile_id="cust-8"), used=TAKEN)
    taken.then(ProfileChanged("cust-7", "cust-8", first_session=False))
    assert taken.decide().claims == []
    assert not taken.after().first_session


def test_a_session_that_comes_back_to_the_profile_that_it_was_first_of_is_its_first() -> None:
    away = ProfileChanged("cust-7", "cust-8", first_session=False)
    back = given(FIRST, away).when(SetProfile(profile_id="cust-7"), used=OURS)
    back.then(ProfileChanged("cust-8", "cust-7", first_session=True))


def test_a_session_made_anonymous_is_a_first_one() -> None:
    later = SessionOpened(first_session=False, profile_id="cust-7")
    leaving = given(later).when(SetProfile(profile_id=""))
    leaving.then(ProfileChanged("cust-7", "", first_session=True))
    assert leaving.after().first_session
    assert leaving.decide().claims == []


@pytest.mark.parametrize("used", [FREE, TAKEN, OURS])
def test_the_same_profile_is_so_already_whatever_is_known(used: Usage) -> None:
    setting = given(FIRST).when(SetProfile(profile_id="cust-7"), used=used)
    setting.then()
    assert setting.decide().claims == []
    given(OPENED).when(SetProfile(profile_id=""), used=used).then()


def test_nothing_releases_the_claim_on_a_first_session() -> None:
    claim = first_session("cust-7")
    assert taken_by(FIRST) == [claim]
    assert released_by(FIRST) == []
    assert released_by(ProfileChanged("cust-7", "", first_session=True)) == []


def test_only_opening_and_attaching_ask_for_a_claim() -> None:
    assert asks(OpenSession(profile_id="a")) == [first_session("a")]
    assert asks(SetProfile(profile_id="a")) == [first_session("a")]
    assert asks(OpenSession()) == asks(SetProfile(profile_id="")) == []


def test_two_profiles_never_share_a_claim() -> None:
    profiles = ["a", "A", "a ", "first-session:a", "", ":", "ä", "a\u0308"]
    assert len({first_session(profile).limit for profile in profiles}) == len(profiles)


WRONG: list[tuple[Any, type[Refused]]] = [
    (None, InvalidValue),
    (7, InvalidValue),
    ("a\0", InvalidValue),
    ("a\ud800", InvalidValue),
    ("a" * 1001, LimitExceeded),
]


@pytest.mark.parametrize(("wrong", "error"), WRONG)
def test_a_profile_is_a_text(wrong: Any, error: type[Refused]) -> None:
    given().when(OpenSession(profile_id=wrong)).refused(error, field="profileId")
    given(OPENED).when(SetProfile(profile_id=wrong)).refused(error, field="profileId")


def test_whatever_is_asked_for_can_be_written_in_utf_8() -> None:
    claims = asks(OpenSession(profile_id="a\ud800")) + asks(SetProfile(profile_id="a\ud800"))
    assert [claim.limit for claim in claims if "\ud800" in claim.limit] == []
