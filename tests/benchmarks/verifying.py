"""Measures what `verify` costs as the number of sessions grows."""

from projections.verifying.verify import verify
from tests.benchmarks.measuring import Block, Row, costs, in_turn
from tests.benchmarks.ours_side import OursSide
from tests.benchmarks.workload import profile, session_id

ROUNDS = 3


def verify_growth(name: str, urls: tuple[str, str], sessions: int) -> Row:
    """Sessions of one event each, compared with a tenth of them: it must not be quadratic."""
    few_sessions = sessions // 10
    with OursSide(urls[0]) as more, OursSide(urls[1]) as less:
        many, few = in_turn(ROUNDS, _verifying(more, sessions), _verifying(less, few_sessions))
    what = f"verify, an event, {sessions:,} sessions of one event, {name}"
    return costs(what, f"of {few_sessions:,}", 1.5, many, few)


def _verifying(side: OursSide, sessions: int) -> Block:
    with side.bulk():
        for number in range(sessions):
            side.open(session_id(number), profile(number))

    def block() -> int:
        assert verify(side.store) == []
        return sessions

    return block
