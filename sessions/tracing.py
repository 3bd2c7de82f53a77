"""Spans around what takes time, if the program has set OpenTelemetry's tracer provider.

Three spans that nobody records would still cost a tenth of a command that shares its commit, and
importing the API a tenth of the time in which a command line starts. So neither is done before.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sessions.news import News

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Tracer, TracerProvider

P = ParamSpec("P")
T = TypeVar("T")

_NOTHING = nullcontext()


def span(name: str, **attributes: Any) -> AbstractContextManager[Any]:  # noqa: ANN401  as they are
    """A span named `customer_sessions.NAME`, with attributes named in the same way."""
    tracer = _tracer()
    return _NOTHING if tracer is None else _recorded(tracer, name, attributes)


@contextmanager
def _recorded(asked: Tracer, name: str, attributes: dict[str, Any]) -> Iterator[None]:
    """A span; `News` that is raised inside is not an error of it."""
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
    """Make spans of the calls of a function, of all or of some.

    `when` and each attribute are computed from the arguments of the call.
    """

    def around(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def called(*given: P.args, **named: P.kwargs) -> T:
            if _tracer() is None or (when is not None and not when(*given, **named)):
                return function(*given, **named)
            read = {key: attribute(*given, **named) for key, attribute in attributes.items()}
            with span(name, **read):
                return function(*given, **named)

        return called

    return around


def carried(call: Callable[P, T]) -> Callable[P, T]:
    """A call for another thread, whose spans are part of the span that is current here."""
    if _tracer() is None:
        return call
    from opentelemetry import context  # noqa: PLC0415  whatever set a provider has imported it

    here = context.get_current()

    def called(*given: P.args, **named: P.kwargs) -> T:
        there = context.attach(here)
        try:
            return call(*given, **named)
        finally:
            context.detach(there)

    return called


def _tracer() -> Tracer | None:
    """What makes spans, if the program has set a provider: then it has imported the API too.

    The API's own function reads the environment, which costs as much as a small query.
    """
    trace: Any = sys.modules.get("opentelemetry.trace")
    if getattr(trace, "_TRACER_PROVIDER", None) is None:  # not imported, or not to its end
        return None
    return _tracer_of(trace.get_tracer_provider())


@lru_cache(1)
def _tracer_of(provider: TracerProvider) -> Tracer:
    return provider.get_tracer("customer-sessions")
