"""Spans around what takes time, for those who have OpenTelemetry."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from projections import Projection, Runner, rebuild
from sessions import OpenSession, SessionExists, SessionStore, SetProfile
from sessions.views.installed import installed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from sessions.recorded import Recorded
    from tests.conftest import OpenStore


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans that were ended."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


def _count(view: int | None, _: Recorded) -> int:
    return (view or 0) + 1


COUNTED = Projection(name="counted", version=1, view=int, fold=_count, keys=lambda _: ("all",))


def names(spans: InMemorySpanExporter) -> Sequence[str]:
    return [span.name.removeprefix("customer_sessions.") for span in spans.get_finished_spans()]


def test_a_command_has_spans_for_itself_its_fold_and_its_commit(
    store: SessionStore, spans: InMemorySpanExporter
) -> None:
    store.execute("s", OpenSession())

    assert names(spans) == ["fold", "commit", "execute"]
    fold, commit, execute = spans.get_finished_spans()
    assert fold.parent == commit.parent == execute.context
    assert execute.attributes == {"customer_sessions.commands": 1}
    assert commit.attributes == {"customer_sessions.position": 1}


def test_a_command_that_is_awaited_has_the_same_spans(
    store: SessionStore, spans: InMemorySpanExporter
) -> None:
    async def both() -> None:
        await store.execute_async("s", OpenSession())
        await asyncio.gather(*[store.execute_async(f"{n}", OpenSession()) for n in range(5)])

    asyncio.run(both())

    fold, commit, execute = spans.get_finished_spans()[:3]
    assert names(spans)[:3] == ["fold", "commit", "execute"]
    assert fold.parent == commit.parent == execute.context
    executed = [span.context for span in of(spans, "execute")]
    assert {span.parent in executed for span in of(spans, "fold") + of(spans, "commit")} == {True}


def of(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    """The spans of a name."""
    ended = spans.get_finished_spans()
    return [span for span in ended if span.name == f"customer_sessions.{name}"]


def test_where_nothing_is_written_nothing_is_folded_or_committed(
    store: SessionStore, spans: InMemorySpanExporter
) -> None:
    store.execute("s", OpenSession(), idempotency_key="k")
    spans.clear()

    with pytest.raises(SessionExists):
        store.execute("s", OpenSession())
    store.execute("s", OpenSession(), idempotency_key="k")
    store.execute("t", OpenSession(), dry_run=True)

    assert names(spans) == ["execute"] * 3


def test_a_log_that_has_moved_is_no_error_of_a_commit(
    url: str, spans: InMemorySpanExporter
) -> None:
    with SessionStore.open(url) as mine, SessionStore.open(url) as other:
        for name in ("a", "b", "c"):
            mine.execute(name, OpenSession())
        other.execute("d", OpenSession())
        spans.clear()

        mine.execute("e", OpenSession())

    commits = of(spans, "commit")
    assert len(commits) == (2 if url.startswith("postgresql") else 1)
    assert {span.status.status_code for span in commits} == {StatusCode.UNSET}
    assert [span.events for span in commits] == [()] * len(commits)


def test_a_key_that_others_use_at_the_very_moment_is_no_error_of_a_commit(
    postgres_url: str, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = SetProfile(profile_id="")
    with SessionStore.open(postgres_url) as mine, SessionStore.open(postgres_url) as other:
        for name in ("a", "b", "c"):
            mine.execute(name, OpenSession())
        commit = mine.recorder.database.commit

        def late(*given: Any) -> None:
            monkeypatch.undo()
            other.execute("a", nothing, idempotency_key="k")
            spans.clear()
            commit(*given)

        monkeypatch.setattr(mine.recorder.database, "commit", late)
        mine.execute("a", nothing, idempotency_key="k")

    commits = of(spans, "commit")
    assert {span.status.status_code for span in commits} == {StatusCode.UNSET}
    assert [span.events for span in commits] == [()] * len(commits)


def test_what_is_followed_and_rebuilt_has_spans(
    open_store: OpenStore, spans: InMemorySpanExporter
) -> None:
    store = open_store(projections=(*installed(), COUNTED))
    store.execute("s", OpenSession())
    spans.clear()

    Runner(store).run(until=1)
    rebuild(store, names=["counted"])

    assert names(spans) == ["fold", "rebuild"]
    assert spans.get_finished_spans()[1].attributes == {
        "customer_sessions.projections": ("counted 1",)
    }


def test_without_opentelemetry_nothing_is_traced(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")

    assert store.execute("s", OpenSession()).position == 1


def test_while_another_thread_imports_opentelemetry_nothing_is_traced(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", ModuleType("opentelemetry.trace"))

    assert store.execute("s", OpenSession()).position == 1


SET_LATER = """
from opentelemetry import trace
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sessions import CloseSession, OpenSession, SessionStore

with SessionStore.open("memory:") as store:
    store.execute("s", OpenSession())  # nobody records yet
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    store.execute("s", CloseSession())
print(*[span.name for span in exporter.get_finished_spans()])
"""


def test_a_provider_that_is_set_later_gets_the_spans_from_then_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SET_LATER], check=True, capture_output=True, text=True
    )

    spans = [f"customer_sessions.{name}" for name in ("fold", "commit", "execute")]
    assert done.stdout.split() == spans
