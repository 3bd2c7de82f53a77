"""Spans around what takes time, where the OpenTelemetry API is installed; nothing else needs it."""

from __future__ import annotations

from contextlib import nullcontext
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

tracer: Tracer | None
try:
    from opentelemetry import trace
    from opentelemetry.trace import ProxyTracer, Tracer
except ImportError:
    tracer = None
else:
    tracer = trace.get_tracer("customer-sessions")

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

P = ParamSpec("P")
T = TypeVar("T")

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


def spanned(
    name: str, **attributes: Callable[..., object]
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let calls of a function be spans; each attribute is read from what it is called with."""

    def around(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def called(*given: P.args, **named: P.kwargs) -> T:
            if tracer is None or _is_recorded_by_nobody(tracer):
                return function(*given, **named)
            read = {key: attribute(*given, **named) for key, attribute in attributes.items()}
            with span(name, **read):
                return function(*given, **named)

        return called

    return around


def _is_recorded_by_nobody(asked: Tracer) -> bool:
    """Whether a tracer still waits for a provider, told as it tells itself.

    The public question reads the environment, which costs as much as a small query.
    """
    return type(asked) is ProxyTracer and getattr(trace, "_TRACER_PROVIDER", asked) is None
