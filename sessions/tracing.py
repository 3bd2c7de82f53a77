"""Spans around what takes time, where the OpenTelemetry API is installed; nothing else needs it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

tracer: Tracer | None
try:
    from opentelemetry.trace import Tracer, get_tracer
except ImportError:
    tracer = None
else:
    tracer = get_tracer("customer-sessions")

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_NOTHING = nullcontext()


def span(name: str, **attributes: Any) -> AbstractContextManager[Any]:  # noqa: ANN401  as they are
    """A span named `customer_sessions.NAME`, with attributes named in the same way."""
    if tracer is None:
        return _NOTHING
    named = {f"customer_sessions.{key}": value for key, value in attributes.items()}
    return tracer.start_as_current_span(f"customer_sessions.{name}", attributes=named)
