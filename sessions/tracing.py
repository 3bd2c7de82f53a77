"""Spans around what takes time, where the OpenTelemetry API is installed; nothing else needs it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

tracer: Tracer | None
try:
    from opentelemetry import trace
    from opentelemetry.trace import ProxyTracer, Tracer
except ImportError:
    tracer = None
else:
    tracer = trace.get_tracer("customer-sessions")

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_NOTHING = nullcontext()


def span(name: str, **attributes: Any) -> AbstractContextManager[Any]:  # noqa: ANN401  as they are
    """A span named `customer_sessions.NAME`, with attributes named in the same way.

    Where the program has set no tracer provider there is none: a span that nobody records would
    still cost a tenth of a command.
    """
    if tracer is None or _is_recorded_by_nobody(tracer):
        return _NOTHING
    named = {f"customer_sessions.{key}": value for key, value in attributes.items()}
    return tracer.start_as_current_span(f"customer_sessions.{name}", attributes=named)


def _is_recorded_by_nobody(asked: Tracer) -> bool:
    """Whether a tracer still waits for a provider, told as it tells itself.

    The public question reads the environment, which costs as much as a small query.
    """
    return type(asked) is ProxyTracer and getattr(trace, "_TRACER_PROVIDER", asked) is None
