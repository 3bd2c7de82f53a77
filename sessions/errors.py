"""Everything that this library raises. The docstring of a class is its message."""

from __future__ import annotations

from typing import Any, ClassVar


class SessionsError(Exception):
    """something went wrong"""

    retry: ClassVar[bool] = False
    """Whether the same call can succeed later, with nothing else changed."""

    def __init__(self, **fields: Any) -> None:  # noqa: ANN401  each class names its own
        self.fields = fields
        super().__init__(_message(type(self).__doc__ or "", fields))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """A field of the message: `error.session`, `error.state`, ..."""
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.fields)


def _message(text: str, fields: dict[str, Any]) -> str:
    try:
        return text.format_map(fields)
    except ValueError:  # Python does not print a huge number
        return text.format_map(
            {n: "a huge number" if isinstance(v, int) else v for n, v in fields.items()}
        )


def _rebuilt(kind: type[SessionsError], fields: dict[str, Any]) -> SessionsError:
    return kind(**fields)


class Refused(SessionsError):
    """the command was refused"""


class SessionNotFound(Refused):
    """session {session!r} does not exist"""


class SessionNotYet(SessionNotFound):
    """session {session!r} did not exist at {moment}"""


class SessionExists(Refused):
    """session {session!r} exists already"""


class IllegalTransition(Refused):
    """session {session!r} is {state}: {command} is not possible"""


class SessionNotOpen(IllegalTransition):
    """session {session!r} is {state}: {command} needs an open session"""


class SessionNotClosed(IllegalTransition):
    """session {session!r} is {state}: {command} needs a closed session"""


class InvalidValue(Refused):
    """{field}: {rule}, not {value}"""


class LimitExceeded(Refused):
    """{field}: at most {limit}, not {value}"""


class LineNotFound(Refused):
    """{field}: no line of the cart has it: {value!r}"""


class AmbiguousSku(Refused):
    """{field}: {value!r} stands on the lines {positions}: name a position"""


class NotEnoughLeft(Refused):
    """{field}: {asked} to return, but only {left} left of {sku!r}"""


class ClaimRefused(SessionsError):
    """{limit} is used up"""


class VersionConflict(SessionsError):
    """session {session!r} is at version {actual}, not at the expected {expected}"""


class IdempotencyKeyReused(SessionsError):
    """idempotency key {key!r} was used before, for another session or other fields"""


class VersionNotFound(SessionsError):
    """session {session!r} has no version {version}: its newest is {newest}"""


class PositionNotFound(SessionsError):
    """the log of application {application} has no position {position}: its newest is {newest}"""


class ProfileNotFound(SessionsError):
    """no session of profile {profile!r}"""


class ProfileNotYet(ProfileNotFound):
    """no session of profile {profile!r} at {moment}"""


class NotInHistory(SessionsError):
    """the history of profile {profile!r} has no session {session!r}"""


class InvalidURL(SessionsError):
    """{url!r} is no store's URL: {rule}"""


class StoreNotFound(SessionsError):
    """there is no store at {path}: the first command makes one"""


class NotAStore(SessionsError):
    """{path} is no customer-sessions store: {reason}"""


class StoreTooNew(SessionsError):
    """{path} has schema {found}, and this library knows up to {known}: upgrade customer-sessions"""


class StoreTooOld(SessionsError):
    """{path} has schema {found}, not {known}: open it for writing, or run `sessions init`"""


class StoreBusy(SessionsError):
    """another writer held {path} for more than {seconds} s"""

    retry = True


class StoreReadOnly(SessionsError):
    """{path} was opened read-only"""


class BatchOpen(SessionsError):
    """{what} is not possible while this thread has a batch open"""


class BatchFailed(SessionsError):
    """the batch has failed, and {answered} commands that it answered are lost: {reason}"""


class QueueFull(SessionsError):
    """{waiting} commands wait for {path} already, for more than {seconds} s"""

    retry = True


class StoreUnavailable(SessionsError):
    """{path} cannot be reached: {reason}"""

    retry = True


class OutcomeUnknown(SessionsError):
    """{path} did not say whether it committed; ask with the idempotency key, or look: {reason}"""


class StatementTimeout(SessionsError):
    """{path} took too long, and nothing was written: {reason}"""

    retry = True


class CopyDiffers(SessionsError):
    """{path} is no copy of the source: they differ at {where}"""


class StoreClosed(SessionsError):
    """the store is closed"""


class StorageFailed(SessionsError):
    """{path}: the database failed: {reason}"""


class Duplicate(StorageFailed):
    """{path}: something is there already: {reason}"""


class ViewUnreadable(StorageFailed):
    """{path}: {projection} of {key!r} is damaged: run `sessions rebuild`: {reason}"""


class ViewsDiffer(SessionsError):
    """the store keeps the views {stored}, this process has {found}: run `sessions rebuild`"""


class UnknownEvent(SessionsError):
    """the event {type} (version {type_version}) at {where} is of a newer library: upgrade"""


class UndecodableEvent(SessionsError):
    """the event {type} (version {type_version}) at {where} cannot be decoded: {reason}"""


class ViewParked(SessionsError):
    """{projection} of {key!r} waits at position {position} ({type}): {reason}"""


class ViewBehind(SessionsError):
    """{projection} has come to position {position}, not to {asked}: {reason}"""

    retry = True


class ProjectionNotFound(SessionsError):
    """no projection is called {name!r}: there are {known}"""


class ProjectionNotKept(SessionsError):
    """the store does not keep {projection} as it is here: run `sessions projections rebuild`"""


class RebuildRunning(SessionsError):
    """the views of {path} are being rebuilt: let that end, or drop what it has made"""

    retry = True


class DependentView(SessionsError):
    """the view {view} is made of what is rebuilt, and cannot be made of what is new: {reason}"""


class KeyNotParked(SessionsError):
    """{projection} of {key!r} does not wait for anything"""
