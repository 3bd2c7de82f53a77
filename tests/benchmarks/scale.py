"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        sessions: How many sessions each side has before one caller is measured.
        rounds: How many rounds with one caller.
        events: How many events the long log has.
        turns: How many rounds with many callers, and on PostgreSQL.
        commits: How many commits a follower sees.
        verified: How many sessions of one event each `verify` reads.
        rebuilt: How many sessions a rebuild covers.
        seconds: For how many seconds a projection is followed under load, once it is warm.
    """

    sessions: int
    rounds: int
    events: int
    turns: int
    commits: int
    verified: int
    rebuilt: int
    seconds: float


FULL = Scale(
    1000,
    rounds=31,
    events=1_000_000,
    turns=15,
    commits=200,
    verified=20_000,
    rebuilt=10_000,
    seconds=20,
)
QUICK = Scale(
    200, rounds=7, events=50_000, turns=3, commits=30, verified=3_000, rebuilt=300, seconds=3
)
