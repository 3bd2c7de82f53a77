"""eventsourcing's subscriptions (`recorder.subscribe()`), on every database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventsourcing.persistence import ApplicationRecorder, Notification, Subscription

from sessions.log.following import PAGE, Following

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sessions.log.rows import Log


class _Notifications(Following[Notification]):
    def __init__(
        self, recorder: ApplicationRecorder, log: Log, after: int, topics: Sequence[str]
    ) -> None:
        super().__init__(log, after)
        self._recorder = recorder
        self._topics = topics

    def _read(self, after: int) -> tuple[Iterator[tuple[int, Notification]], int]:
        self._database.check_outside("subscribe")  # it would wait for what its thread keeps back
        until = self._end(after, self._recorder.max_notification_id() or 0)
        page = self._recorder.select_notifications(
            after, PAGE, until, self._topics, inclusive_of_start=False
        )
        if len(page) == PAGE:
            until = page[-1].id
        return ((notification.id, notification) for notification in page), until


class FollowingSubscription(Subscription[ApplicationRecorder]):
    """Notifications in the order of the log, each once, until it is stopped."""

    def __init__(
        self, recorder: ApplicationRecorder, log: Log, gt: int | None, topics: Sequence[str]
    ) -> None:
        super().__init__(recorder, gt, topics)
        self._following = _Notifications(recorder, log, gt or 0, topics)

    def stop(self) -> None:
        """End the iteration, also in a thread that is waiting."""
        super().stop()
        self._following.stop()

    def __next__(self) -> Notification:
        """Wait for the next notification, and return it.

        Raises:
            PositionNotFound: The log ends before what was seen, as that of an older backup does.
        """
        return next(self._following)
