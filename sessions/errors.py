"""Everything that this library raises. The docstring of a class is its message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sessions.events import State
    from sessions.keys import Key


class SessionsError(Exception):
    """something went wrong"""

    retry: bool = False
    """Whether the same call can succeed later, with nothing else changed."""

    def __init__(self, **fields: Any) -> None:  # noqa: ANN401  each class names its own
        self.fields = fields
        vars(self).update(fields)
        super().__init__(_message(type(self), fields))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.fields)


def _message(kind: type[SessionsError], fields: dict[str, Any]) -> str:
    text = kind.__doc__
    if text is None:  # `python -OO` leaves no docstrings
        text = f"{kind.__name__}: {', '.join(f'{name}={{{name}!r}}' for name in fields)}"
    try:
        return text.format_map(fields)
    except ValueError:  # Python does not print a huge number
        return text.format_map(
            {n: "a huge number" if isinstance(v, int) else v for n, v in fields.items()}
        )


def _rebuilt(kind: type[SessionsError], fields: dict[str, Any]) -> SessionsError:
    return kind(**fields)


class NotFound(SessionsError):
    """it does not exist"""


class Refused(SessionsError):
    """the command was refused"""

    session: str | None = None
    """The session that was asked for, where a command was refused."""

    command: str | None = None
    """The command's name, such as `add-item`."""

    index: int | None = None
    """Its place among the commands of one call, from 0, if there are several."""

    def about(self, **known: object) -> None:
        """Take note of what it is about, where that is not said yet."""
        for name, value in known.items():
            if self.fields.setdefault(name, value) is value:
                setattr(self, name, value)


class InvalidInput(Refused):
    """{field}: it breaks a rule"""

    field: str


class SessionNotFound(Refused, NotFound):
    """session {session!r} does not exist"""

    session: str


class SessionNotYet(SessionNotFound):
    """session {session!r} did not exist at {moment}: it began at {began}"""

    moment: str
    began: str


class IllegalTransition(Refused):
    """session {session!r} is {state}: {command} is not possible"""

    session: str
    state: State
    command: str


class SessionExists(IllegalTransition):
    """session {session!r} already exists and is {state}: {command} needs an unused id"""


class SessionNotOpen(IllegalTransition):
    """session {session!r} is {state}: {command} needs an open session"""


class SessionNotClosed(IllegalTransition):
    """session {session!r} is {state}: {command} needs a closed session"""


class InvalidValue(InvalidInput):
    """{field}: {rule}, not {value}"""

    rule: str
    value: object


class LimitExceeded(InvalidInput):
    """{field}: at most {limit}, not {value}"""

    limit: int | str
    value: object


class MalformedCommand(InvalidInput):
    """{reason}"""

    reason: str


class LineNotFound(InvalidInput):
    """{field}: {rule}: {value!r}"""

    rule: str
    value: object


class AmbiguousSku(InvalidInput):
    """{field}: {value!r} is on lines {positions}: give a position"""

    value: object
    positions: Sequence[int]


class NotEnoughLeft(InvalidInput):
    """{field}: cannot return {asked} of {sku!r}: only {left} left"""

    asked: int | str
    left: int
    sku: str


class ClaimRefused(Refused):
    """limit {limit!r} has no room for another claim"""

    limit: str


class VersionConflict(Refused):
    """session {session!r} is at version {actual}, not at the expected {expected}"""

    session: str
    actual: int
    expected: int


class IdempotencyKeyReused(Refused):
    """idempotency key {key!r} was already used for another session, command or fields"""

    key: str


class VersionNotFound(NotFound):
    """session {session!r} has no version {version}: its newest is {newest}"""

    session: str
    version: int
    newest: int


class PositionNotFound(NotFound):
    """the log of application {application} has no position {position}: its newest is {newest}"""

    application: int
    position: int
    newest: int


class ProfileNotFound(NotFound):
    """no session ever came to profile {profile!r}"""

    profile: str


class ProfileNotYet(ProfileNotFound):
    """no session had come to profile {profile!r} by {moment}"""

    moment: str


class NotInHistory(NotFound):
    """the history of profile {profile!r} has no session {session!r}"""

    profile: str
    session: str


class InvalidURL(SessionsError):
    """{url!r} is not a store's URL: {rule}"""

    url: str
    rule: str


class StoreNotFound(SessionsError):
    """there is no store at {path}: `sessions init` or the first executed command makes one"""

    path: str


class NotAStore(SessionsError):
    """{path} is not a customer-sessions store: {reason}"""

    path: str
    reason: object


class StoreTooNew(SessionsError):
    """{path} has schema {found}, but this library knows up to {known}: upgrade customer-sessions"""

    path: str
    found: int
    known: int


class StoreTooOld(SessionsError):
    """{path} has schema {found}, not {known}: open it for writing, or run `sessions init`"""

    path: str
    found: int
    known: int


class StoreBusy(SessionsError):
    """{path} is busy: others held a lock for more than {seconds} s"""

    path: str
    seconds: float

    retry = True


class StoreReadOnly(SessionsError):
    """{path} was opened read-only"""

    path: str


class BatchOpen(SessionsError):
    """{what} is not possible while this thread has a batch open"""

    what: str


class OutsideBatch(SessionsError):
    """the batch has ended, or another thread, task or process has it open"""


class CommitUnderway(SessionsError):
    """{what} is not possible here: this thread is inside a commit, and would wait for itself"""

    what: str


class BatchFailed(SessionsError):
    """the batch has failed, and {answered} commands that it answered are lost: {reason}"""

    answered: int
    reason: object


class QueueFull(SessionsError):
    """{waiting} calls are queued for {path}: no room for another within {seconds} s"""

    waiting: int
    path: str
    seconds: float

    retry = True


class StoreUnavailable(SessionsError):
    """{path} cannot be reached: {reason}"""

    path: str
    reason: object

    retry = True


class OutcomeUnknown(SessionsError):
    """{path} may or may not have committed: retry with the idempotency key, or check: {reason}"""

    path: str
    reason: object

    def of_key(self) -> None:
        """Take note that the call had an idempotency key: it can be made again."""
        self.fields["retry"] = self.retry = True


class StatementTimeout(SessionsError):
    """{path} cancelled a statement, and nothing was written: {reason}"""

    path: str
    reason: object

    retry = True


class CopyDiffers(SessionsError):
    """{path} differs from the source at {where} (is someone writing to either?)"""

    path: str
    where: object


class CopyUnfinished(SessionsError):
    """the store is an unfinished copy: let `sessions copy` finish, or run it again"""


class StoreClosed(SessionsError):
    """the store is closed"""


class StorageFailed(SessionsError):
    """{path}: the database failed: {reason}"""

    path: str
    reason: object


class Duplicate(StorageFailed):
    """{path}: a row with this key already exists: {reason}"""


class ViewUnreadable(StorageFailed):
    """{path}: {projection} of {key!r} is damaged: {advice}: {reason}"""

    projection: str
    key: Key
    advice: str


class ViewsDiffer(SessionsError):
    """the store keeps the views {stored}, but this process has {found}: {advice}"""

    stored: str
    found: str
    advice: str


class UnknownEvent(SessionsError):
    """event {type} (version {type_version}) at position {where} is from a newer library: upgrade"""

    type: str
    type_version: int
    where: int


class UndecodableEvent(SessionsError):
    """event {type} (version {type_version}) at position {where} cannot be decoded: {reason}"""

    type: str
    type_version: int
    where: int
    reason: object


class ViewParked(SessionsError):
    """{projection} of {key!r} is parked at position {position} ({type}): {reason}"""

    projection: str
    key: Key
    position: int
    type: str
    reason: object


class RunnerAtWork(SessionsError):
    """this runner is already running, in another thread or in its `with` block"""


class ViewBehind(SessionsError):
    """{projection} has reached position {position}, not {asked}: {reason}"""

    projection: str
    position: int
    asked: int
    reason: object

    retry = True


class ProjectionNotFound(NotFound):
    """there is no projection {name!r}: this process knows {known}"""

    name: str
    known: str


class ProjectionNotLoaded(SessionsError):
    """the entry point {name} ({value}) does not provide a projection: {reason}"""

    name: str
    value: str
    reason: object


class ProjectionNotKept(SessionsError):
    """the store does not keep {projection}: {advice}"""

    projection: str
    advice: str


class ProjectionTooOld(SessionsError):
    """the store keeps {stored}, but this process has {found}: {advice}"""

    stored: str
    found: str
    advice: str


class RebuildRunning(SessionsError):
    """{path} is being rebuilt or copied to: wait, resume it, or run `sessions projections drop`"""

    path: str

    retry = True


class DependentView(SessionsError):
    """the view {view} cannot be recreated on the new build: drop it, then rebuild: {reason}"""

    view: str
    reason: object


class DependentPolicy(SessionsError):
    """the policy {policy} of {relation} cannot be recreated: drop it, then rebuild: {reason}"""

    policy: str
    relation: str
    reason: object


class DependentObject(SessionsError):
    """{what} must be dropped first: it depends on {relation}, which is to be replaced or dropped"""

    what: str
    relation: str


class KeyNotParked(SessionsError):
    """{projection} of {key!r} is not parked"""

    projection: str
    key: Key


class KeyNotTouched(SessionsError):
    """event {position} no longer touches {projection} of {key!r}: raise the version, and rebuild"""

    projection: str
    key: Key
    position: int
