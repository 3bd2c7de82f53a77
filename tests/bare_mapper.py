"""A mapper of eventsourcing's that decodes nothing."""

from __future__ import annotations

from typing import Any

from eventsourcing.persistence import Mapper, StoredEvent


class BareMapper(Mapper[str]):
    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        return stored_event
