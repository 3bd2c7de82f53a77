"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        sessions: Of each side, before one caller is measured.
        rounds: With one caller.
        events: Of the long log.
        turns: Rounds with many callers, and on PostgreSQL.
        commits: That a follower sees.
        verified: Sessions of one event each, for `verify`.
        rebuilt: Sessions whose views are made anew.
        seconds: That a projection is followed under load, once it is warm.
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
    rebuilt=3000,
    seconds=20,
)
QUICK = Scale(
    200, rounds=7, events=50_000, turns=3, commits=30, verified=3_000, rebuilt=300, seconds=3
)
