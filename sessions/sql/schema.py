"""The relations of a store, the same for every database."""

from __future__ import annotations

from sessions.sql.tables import APPLICATION_ID, Column, Table

MIGRATIONS = Table(
    "migrations",
    (Column("version", "integer"), Column("applied_at", "time")),
    key=("version",),
)
"""The migrations that made the store what it is; the newest is its schema's version."""

PROJECTIONS = Table(
    "projections",
    (
        Column("name"),
        Column("build", "integer"),
        Column("version", "integer"),
        Column("mode"),
        Column("status"),
        Column("revision", "integer"),
        Column("relations"),
    ),
    key=("name", "build"),
)
"""The builds of projections that the store keeps. Of each projection one build is `current`, one
may be `building`, and one `old`; writers keep those that are current and `inline`. The revision is
raised when views change otherwise than by following the log. The relations are the names of the
build's relations while it is current, separated by spaces."""

PARKED = Table(
    "parked",
    (
        APPLICATION_ID,
        Column("projection"),
        Column("build", "integer"),
        Column("key", "id"),
        Column("position", "integer"),
        Column("type"),
        Column("error"),
        Column("parked_at", "time"),
        Column("skipped", "flag"),
    ),
    key=("application_id", "projection", "build", "key", "position"),
)
"""The events that a fold could not handle: their keys wait, or the events are skipped."""

EVENTS = Table(
    "events",
    (
        APPLICATION_ID,
        Column("position", "integer"),
        Column("category"),
        Column("stream_id", "id"),
        Column("version", "integer"),
        Column("type"),
        Column("type_version", "integer"),
        Column("at", "time"),
        Column("recorded_at", "time"),
        Column("command_id"),
        Column("metadata", "json"),
        Column("data", "json"),
    ),
    key=("application_id", "position"),
    unique=(("application_id", "category", "stream_id", "version"),),
)
"""The log, which is append-only. `type_version` is the version of the shape of `data`."""

CLAIMS = Table(
    "claims",
    (APPLICATION_ID, Column("limit_name", "id"), Column("holder", "id")),
    key=("application_id", "limit_name", "holder"),
    clustered=True,
)
"""Which stream holds a claim on which limit."""

LIMITS = Table(
    "limits",
    (APPLICATION_ID, Column("limit_name", "id"), Column("used", "integer")),
    key=("application_id", "limit_name"),
    clustered=True,
)
"""How many holders each limit has."""

ANSWERS = Table(
    "answers",
    (
        APPLICATION_ID,
        Column("idempotency_key"),
        Column("request"),
        Column("answer", "json"),
        Column("recorded_at", "time"),
    ),
    key=("application_id", "idempotency_key"),
    clustered=True,
)
"""The answers that are stored for idempotency keys; `request` is the SHA-256 of the request."""

POSITIONS = Table(
    "positions",
    (Column("follower", "id"), Column("upstream", "id"), Column("position", "integer")),
    key=("follower", "upstream"),
    clustered=True,
)
"""The position that each follower has reached in the log of each application that it follows."""

OF_CLAIMS = (CLAIMS, LIMITS)
"""The relations that `rebuild` builds and `verify` folds afresh beside those of the projections."""

TABLES = (MIGRATIONS, PROJECTIONS, PARKED, EVENTS, CLAIMS, LIMITS, ANSWERS, POSITIONS)
