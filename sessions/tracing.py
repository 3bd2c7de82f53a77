"""Spans around what takes time, where the OpenTelemetry API is installed; nothing else needs it."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sessions.database import News

tracer: Tracer | None
try:
    from opentelemetry import context, trace
    from opentelemetry.trace import ProxyTracer, Tracer
except ImportError:
    tracer = None
else:
    tracer = trace.get_tracer("customer-sessions")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
    return _recorded(tracer, name, attributes)


@contextmanager
def _recorded(asked: Tracer, name: str, attributes: dict[str, Any]) -> Iterator[None]:
    """A span; what is raised as news is no error of it."""
    named = {f"customer_sessions.{key}": value for key, value in attributes.items()}
    news = None
    with asked.start_as_current_span(f"customer_sessions.{name}", attributes=named):
        try:
            yield
        except News as told:
            news = told
    if news is not None:
        raise news


def spanned(
    name: str, when: Callable[..., bool] | None = None, **attributes: Callable[..., object]
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let calls of a function be spans, all of them or some.

    Whether one is, and each attribute, is read from what it is called with.
    """

    def around(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def called(*given: P.args, **named: P.kwargs) -> T:
            if tracer is None or _is_recorded_by_nobody(tracer):
                return function(*given, **named)
            if when is not None and not when(*given, **named):
                return function(*given, **named)
            read = {key: attribute(*given, **named) for key, attribute in attributes.items()}
            with span(name, **read):
                return function(*given, **named)

        return called

    return around


def carried(call: Callable[P, T]) -> Callable[P, T]:
    """A call for another thread whose spans are part of the span in which it is asked for."""
    if tracer is None or _is_recorded_by_nobody(tracer):
        return call
    here = context.get_current()

    def called(*given: P.args, **named: P.kwargs) -> T:
        there = context.attach(here)
        try:
            return call(*given, **named)
        finally:
            context.detach(there)

    return called


def _is_recorded_by_nobody(asked: Tracer) -> bool:
    """Whether a tracer still waits for a provider, told as it tells itself.

    The public question reads the environment, which costs as much as a small query.
    """
    return type(asked) is ProxyTracer and getattr(trace, "_TRACER_PROVIDER", asked) is None
