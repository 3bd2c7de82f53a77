"""What a projection is, and what becomes of its views in the transaction of a command."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    NamedTuple,
    TypedDict,
    TypeVar,
    cast,
    get_args,
)

import msgspec
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from projections import (
    Column,
    CustomerSessions,
    Projection,
    Rows,
    Runner,
    Storage,
    StoredProjection,
    Table,
    rebuild,
    verify,
)
from projections.testing import given
from sessions import (
    AddItem,
    AttributesChanged,
    CloseSession,
    InvalidValue,
    OpenSession,
    ProjectionNotKept,
    ProjectionNotLoaded,
    RemoveItem,
    SessionsError,
    SessionStore,
    SetAttributes,
    SetProfile,
    SetQuantity,
    ViewsDiffer,
)
from sessions.events import Event, ItemAdded, SessionClosed, SessionOpened
from sessions.views.installed import installed
from tests.conftest import add
from tests.processes import in_processes
from tests.sample_projections import (
    MENDED,
    SALES,
    SPEND,
    Line,
    Sales,
    Spend,
    in_mode,
    inline,
    profiles,
    there,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sessions import Command, Recorded
    from sessions.keys import Key
    from sessions.kinds import Kind
    from sessions.sql.connection import Query
    from sessions.sql.database import Database
    from sessions.sql.head import Mode
    from tests.conftest import Clock, OpenStore

LINES = "SELECT session_id, sku, units, closed FROM sold_lines ORDER BY session_id, sku"


def stored(store: SessionStore, name: str = "sales") -> StoredProjection[Any]:
    """A projection that the store knows."""
    return StoredProjection(store, next(each for each in store.projections if each.name == name))


# --- what is no projection


@pytest.mark.parametrize(
    "name", ["", "Sales", "1sales", "_sales", "sales-1", "sales lines", "s" * 31, "é", "sales\n"]
)
def test_a_name_is_one_of_small_letters_and_digits(name: str) -> None:
    with pytest.raises(InvalidValue, match="name: at most 30 lower-case letters, digits and _"):
        replace(SALES, name=name)


@pytest.mark.parametrize(
    "name", ["events", "claims", "answers", "migrations", "projections", "parked"]
)
def test_no_relation_of_the_store_is_a_projections(name: str) -> None:
    with pytest.raises(InvalidValue, match="name: a name not used by the store"):
        replace(SALES, name=name)
    with pytest.raises(InvalidValue, match="name: a name not used by the store"):
        replace(SALES, rows=(with_columns(Column("sku"), name=name),))


@pytest.mark.parametrize(
    "name",
    [
        *["sales_build_2", "sales_idx", "sales_idx1", "sales_pkey", "sales_fresh"],
        *["claims_replaced", "pg_class", "sqlite_master", "excluded"],
    ],
)
def test_no_name_is_one_that_the_store_or_a_database_gives(name: str) -> None:
    with pytest.raises(InvalidValue, match="name: a name that neither the store nor"):
        replace(SALES, name=name)
    with pytest.raises(InvalidValue, match="name: a name that neither the store nor"):
        replace(SALES, rows=(with_columns(Column("sku"), name=name),))


def with_columns(*columns: Column, name: str = "sold", **options: Any) -> Rows[Any]:
    """A relation of rows that nobody writes."""
    return Rows(name, columns, of=lambda _: (), **{"key": (columns[0].name,), **options})


@pytest.mark.parametrize("name", ["", "Total", "_total", "tot al", "1st", "x" * 64, "é", "a\n"])
def test_columns_have_names_of_small_letters_and_digits(name: str) -> None:
    for options in columns_called(name):
        with pytest.raises(InvalidValue, match=r"columns: at most 63 lower-case letters"):
            replace(SALES, **options)


def test_a_column_that_is_no_field_of_the_view_is_refused() -> None:
    with pytest.raises(InvalidValue, match="columns: fields of the view, not 'gros'"):
        replace(SALES, columns=(Column("gros", "money"),))


T = TypeVar("T")


@dataclass
class Plain:
    """A view without a default."""

    units: int

    @property
    def twice(self) -> int:
        """What is made of it."""
        return 2 * self.units


class Boxed(msgspec.Struct, Generic[T], frozen=True, tag=True):
    """A view of some type."""

    units: T
    twice: int = 6


class Other(msgspec.Struct, frozen=True, tag=True):
    """Another view."""

    text: str = ""


class Pair(NamedTuple):
    """A view that is a tuple."""

    units: int
    twice: int


@pytest.mark.parametrize(
    ("kind", "view"),
    [
        (Plain, Plain(3)),
        (Boxed[int], Boxed(3)),
        (Boxed[int] | Other, Boxed(3)),
        (Boxed[int] | None, Boxed(3)),
        (Pair, Pair(3, 6)),
    ],
)
def test_a_column_is_a_field_or_a_property_of_any_type_that_views_may_have(
    kind: Any, view: object
) -> None:
    columns = (Column("units", "integer"), Column("twice", "integer"))
    projection: Projection[Any] = Projection(
        name="plain", version=1, view=kind, fold=lambda *_: view, columns=columns
    )

    given(SessionOpened(first_session=True)).when_folded(projection).then("order-1", view)


DESCRIBED = Annotated[int, msgspec.Meta(description="how many there are")]


@pytest.mark.parametrize(
    "kind",
    [
        Plain,
        Boxed[int],
        Boxed[int] | Other,
        Boxed[int] | None,
        Boxed[DESCRIBED],
        Annotated[Plain, msgspec.Meta(description="what there is")],
        Pair,
    ],
)
def test_a_column_is_of_a_kind_that_takes_the_field_of_any_type_that_views_may_have(
    kind: Any,
) -> None:
    with pytest.raises(InvalidValue, match="columns: units needs the kind integer or money"):
        Projection(
            name="plain",
            version=1,
            view=kind,
            fold=lambda view, _: view,
            columns=(Column("units", "text"),),
        )


class Kinds(msgspec.Struct, frozen=True):
    """A view with a field of each kind."""

    units: Annotated[int, msgspec.Meta(ge=0)] = 0
    name: str | None = None
    is_open: bool = False
    total: Decimal = Decimal(0)
    at: datetime | None = None
    share: float = 0.0
    either: int | str = 0


@pytest.mark.parametrize(
    ("column", "kinds"),
    [
        (Column("units"), "integer or money"),
        (Column("name", "money"), "id or json or text"),
        (Column("is_open", "integer"), "flag"),
        (Column("total", "integer"), "money"),
        (Column("at", "text"), "time"),
        (Column("either", "flag"), "id or integer or json or money or text"),
    ],
    ids=str,
)
def test_a_column_is_of_a_kind_that_takes_the_field(column: Column, kinds: str) -> None:
    with pytest.raises(InvalidValue, match=f"columns: {column.name} needs the kind {kinds}, not "):
        Projection(name="k", version=1, view=Kinds, fold=lambda *_: Kinds(), columns=(column,))


class Typed(TypedDict):
    """A view that is a dict."""

    units: int


def test_no_column_takes_a_float_nor_what_is_no_field() -> None:
    share = (Column("share", "money"),)
    with pytest.raises(InvalidValue, match="columns: no column for share, which is a float"):
        Projection(name="k", version=1, view=Kinds, fold=lambda *_: Kinds(), columns=share)
    units = (Column("units", "integer"),)
    with pytest.raises(InvalidValue, match="columns: fields of the view, not 'units'"):
        Projection(name="k", version=1, view=Typed, fold=lambda *_: Typed(units=1), columns=units)


def test_a_column_may_be_of_any_kind_that_takes_the_field() -> None:
    columns: list[tuple[str, Kind]] = [
        ("units", "money"),
        ("name", "json"),
        ("total", "money"),
        ("at", "time"),
        ("either", "integer"),
    ]
    for name, kind in columns:
        made = Projection(
            name="k",
            version=1,
            view=Kinds,
            fold=lambda *_: Kinds(),
            columns=(Column(name, kind, nullable=True),),
        )
        assert made.columns[0].kind == kind


ONE: Any = Column("total", "money")
LINES_OF: Any = SALES.rows[0]
KEPT: Any = SPEND.storage


def with_table(**fields: Any) -> Any:
    return changed(KEPT, table=replace(KEPT.table, **fields))


class Unresolved(msgspec.Struct):
    """A view of which a field is of a type that is not there."""

    at: Nowhere  # type: ignore[name-defined]  # noqa: F821  that is its point


@pytest.mark.parametrize(
    ("given", "field", "rule"),
    [
        ({"columns": ONE}, "columns", "a tuple"),
        ({"rows": LINES_OF}, "rows", "a tuple"),
        ({"indexes": "total"}, "indexes", "a tuple"),
        ({"types": ItemAdded}, "types", "a tuple"),
        ({"columns": ("total",)}, "columns", "a tuple of `Column`"),
        ({"rows": ("lines",)}, "rows", "a tuple of `Rows`"),
        ({"fold": None}, "fold", "a function"),
        ({"keys": "session"}, "keys", "a function"),
        ({"key": "session"}, "key", "a `Column`"),
        ({"view": 3}, "view", "a type"),
        ({"view": ()}, "view", "a type"),
        ({"view": 10**9999}, "view", "a type that msgspec can read, not a huge int"),
        ({"view": Unresolved}, "view", "a type that msgspec can read"),
        ({"begins": True}, "begins", "a function"),
        ({"kept": "x"}, "kept", "a `Storage`"),
        ({"kept": changed(KEPT, table="x")}, "kept.table", "a `Table`"),
        ({"kept": with_table(columns=None)}, "kept.table.columns", "a tuple"),
        ({"kept": with_table(columns=(3,))}, "kept.table.columns", "a tuple of `Column`"),
        ({"kept": with_table(key=None)}, "kept.table.key", "a tuple"),
        ({"kept": with_table(indexes=("a",))}, "kept.table.indexes", "a tuple of `tuple`"),
        ({"kept": changed(KEPT, to_row=None)}, "kept.to_row", "a function"),
        ({"kept": changed(KEPT, from_row="x")}, "kept.from_row", "a function"),
        ({"kept": changed(KEPT, settled=True)}, "kept.settled", "a function"),
    ],
)
def test_what_is_not_what_it_should_be_is_refused_by_its_name(
    given: dict[str, Any], field: str, rule: str
) -> None:
    with pytest.raises(InvalidValue, match=f"{field}: {rule}"):
        replace(SALES, **given)


@pytest.mark.parametrize(
    ("given", "field", "rule"),
    [
        ({"name": None}, "name", "at most 30 lower-case letters, digits and _"),
        ({"columns": ("sku",)}, "sold_lines.columns", "a tuple of `Column`, not 'sku'"),
        ({"key": None}, "sold_lines.key", "a tuple, not None"),
        ({"key": "move"}, "sold_lines.key", "a tuple, not 'move'"),
        ({"key": (3,)}, "sold_lines.key", "a tuple of `str`, not 3"),
        ({"of": None}, "sold_lines.of", "a function, not None"),
        ({"indexes": ("sku",)}, "sold_lines.indexes", "a tuple of `tuple`, not 'sku'"),
        ({"indexes": (([],),)}, "sold_lines.indexes", "one or more of the columns"),
    ],
)
def test_what_is_wrong_with_rows_is_refused_by_their_name(
    given: dict[str, Any], field: str, rule: str
) -> None:
    with pytest.raises(InvalidValue, match=f"{field}: {rule}"):
        replace(SALES, rows=(changed(LINES_OF, **given),))


WRONG: list[Any] = [None, 3, "x", object(), (), ("a",), (("a",),), [], 2**63 - 1, 2**63]


def some_wrong(fields: Sequence[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Wrong values for a field or two, some of which are right for some fields."""
    return st.dictionaries(st.sampled_from(fields), st.sampled_from(WRONG), max_size=2)


@settings(max_examples=300, deadline=None)
@hypothesis_given(
    given=some_wrong([each.name for each in dataclass_fields(Projection)]),
    of_rows=some_wrong(Rows.__struct_fields__),
)
def test_what_is_defined_can_be_opened_or_is_refused_as_invalid(
    given: dict[str, Any], of_rows: dict[str, Any]
) -> None:
    with suppress(InvalidValue):
        defined = replace(SALES, rows=(changed(LINES_OF, **of_rows),), mode="inline")
        SessionStore.open("memory:", projections=[replace(defined, **given)]).close()


def test_what_is_several_may_be_given_in_lists(open_store: OpenStore) -> None:
    rows = changed(LINES_OF, columns=[*LINES_OF.columns], key=["sku"], indexes=[*LINES_OF.indexes])
    listed: dict[str, Any] = {
        "types": [*get_args(Event)],
        "columns": [*SALES.columns],
        "indexes": [("application_id", "total")],
        "rows": [rows],
    }
    store = open_store(projections=inline(replace(SALES, **listed)))

    store.execute_many("a", [OpenSession(), add("x")])

    assert store.query("SELECT session_id, sku, units FROM sold_lines") == [("a", "x", 1)]
    assert rebuild(store).switched
    assert verify(store) == []


def test_only_projections_are_given_to_a_store() -> None:
    with pytest.raises(InvalidValue, match="projections: Projection objects, not <class"):
        SessionStore.open("memory:", projections=[cast("Any", Kinds)])


@pytest.mark.parametrize("name", ["user", "order", "group", "select", "table"])
def test_no_name_is_a_word_that_a_database_has_for_itself(name: str) -> None:
    with pytest.raises(InvalidValue, match="name: a name that SQL does not reserve"):
        replace(SALES, name=name)
    for options in columns_called(name):
        with pytest.raises(InvalidValue, match="columns: a name that SQL does not reserve"):
            replace(SALES, **options)


def columns_called(name: str) -> list[dict[str, Any]]:
    """A column of that name, wherever one can be."""
    column = Column(name)
    return [{"columns": (column,)}, {"key": column}, {"rows": (with_columns(column),)}]


@pytest.mark.parametrize("name", ["application_id", "session_id", "document", "twice"])
def test_each_column_has_a_name_of_its_own(name: str) -> None:
    with pytest.raises(InvalidValue, match=r"sales\.columns: a different name for each"):
        replace(SALES, columns=(Column("twice"), Column(name)))


def test_each_relation_of_a_projection_has_a_name_of_its_own() -> None:
    sold = with_columns(Column("sku"))
    for rows in ((sold, sold), (with_columns(Column("sku"), name="sales"),)):
        with pytest.raises(InvalidValue, match=r"projections: a different name for each .*, not s"):
            replace(SALES, rows=rows)


def test_a_column_is_of_a_kind_that_there_is() -> None:
    unknown: Any = "decimal"
    with pytest.raises(InvalidValue, match=r"sales\.total: one of the kinds id.*, not .decimal."):
        replace(SALES, columns=(Column("total", unknown),))


@pytest.mark.parametrize("kind", ["flag", "money", "time", "json"])
def test_a_key_is_a_text_or_an_integer(kind: Kind) -> None:
    with pytest.raises(InvalidValue, match="key: a column of the kind id or text or integer"):
        replace(SALES, keys=lambda _: (), key=Column("session_id", kind))


@pytest.mark.parametrize("names", [("nope",), ("data",), ("sku", "sku")])
def test_keys_and_indexes_are_of_columns_that_can_have_them(names: tuple[str, ...]) -> None:
    columns = Column("sku"), Column("data", "json")
    for options in ({"key": names}, {"indexes": (names,)}):
        what = next(iter(options))
        with pytest.raises(InvalidValue, match=rf"sold\.{what}: one or more of the columns"):
            replace(SALES, rows=(with_columns(*columns, **options),))
    with pytest.raises(InvalidValue, match=r"sales\.indexes: one or more of the columns"):
        replace(SALES, columns=columns, indexes=(names,))


def test_no_column_of_a_key_is_without_a_value_and_no_index_without_a_column() -> None:
    with pytest.raises(InvalidValue, match=r"sold\.key: one or more of the columns"):
        replace(SALES, rows=(with_columns(Column("sku", nullable=True)),))
    with pytest.raises(InvalidValue, match=r"sales\.indexes: one or more of the columns"):
        replace(SALES, indexes=((),))


def test_there_are_no_more_columns_than_every_database_has_room_for(open_store: OpenStore) -> None:
    columns = tuple(Column(f"c{number}", "text") for number in range(328))
    names = tuple(column.name for column in columns)
    with pytest.raises(InvalidValue, match=r"sold\.columns: columns of at most 7900 bytes .* 7904"):
        replace(SALES, rows=(with_columns(*columns),))
    numbers = tuple(Column(f"c{number}", "integer") for number in range(1000))
    with pytest.raises(InvalidValue, match=r"sold\.columns: columns of at most 7900 bytes .* 8032"):
        replace(SALES, rows=(with_columns(*numbers),))
    with pytest.raises(InvalidValue, match=r"sold\.key: at most 32 columns, .* not 33"):
        replace(SALES, rows=(with_columns(*columns[:50], key=names[:31]),))
    with pytest.raises(InvalidValue, match=r"sold\.indexes: at most 32 columns, .* not 33"):
        replace(SALES, rows=(with_columns(*columns[:50], indexes=(names[:33],)),))

    full = with_columns(*columns[:327], key=names[:30], indexes=(names[:32],))
    row = [f"{number}-".ljust(23, "x") for number in range(327)]
    rows = msgspec.structs.replace(full, of=lambda _: [row])
    store = open_store(projections=inline(replace(MENDED, rows=(rows,))))
    store.execute("s", OpenSession())
    assert len(store.query("SELECT c326 FROM sold")) == 1


@pytest.mark.parametrize(
    ("kind", "most", "size"),
    [
        *[(kind, 982, 7904) for kind in ("integer", "flag", "time")],
        *[(kind, 327, 7912) for kind in ("id", "text", "money", "json")],
    ],
)
def test_a_row_has_room_for_more_columns_of_kinds_that_are_short(
    kind: Kind, most: int, size: int
) -> None:
    number = Column("number", "integer")
    columns = [Column(f"c{n}", kind) for n in range(most + 1)]

    with pytest.raises(InvalidValue, match=rf"columns of at most 7900 bytes .* {size}"):
        replace(SALES, rows=(with_columns(number, *columns),))
    replace(SALES, rows=(with_columns(number, *columns[:most]),))


def test_a_session_is_no_number_and_so_are_its_keys_not() -> None:
    with pytest.raises(InvalidValue, match="key: a column of the kind id or text, not"):
        replace(SALES, key=Column("session_id", "integer"))


@pytest.mark.parametrize("version", [0, -1, 1.5, 1.0, True, "1", None, 2**63])
def test_a_version_is_counted_from_1(version: Any) -> None:
    with pytest.raises(InvalidValue, match="version: a whole number from 1 to 9223372036854775807"):
        replace(SALES, version=version)


@pytest.mark.parametrize("kind", [AddItem, "ItemAdded", "Foo"])
def test_the_types_that_are_wanted_are_those_of_events(kind: Any) -> None:
    with pytest.raises(InvalidValue, match=r"types: classes of events, not .*(Add|Foo)"):
        replace(SALES, types=(SessionOpened, kind))


def test_there_are_three_modes() -> None:
    with pytest.raises(InvalidValue, match="mode: one of inline, followed, live"):
        replace(SALES, mode="Inline")  # type: ignore[arg-type]  # it is wrong


@pytest.mark.parametrize(
    "other",
    [
        SALES,
        replace(SALES, name="other"),
        replace(SALES, name="sold_lines", rows=()),
    ],
    ids=["the same name", "the same rows", "a name that is of rows"],
)
def test_two_projections_do_not_share_a_relation(
    open_store: OpenStore, other: Projection[Any]
) -> None:
    with pytest.raises(InvalidValue, match="projections: a different name for each projection"):
        open_store(projections=inline(SALES, other))


def test_two_projections_do_not_share_a_name_whatever_their_relations_are_called() -> None:
    def kept_in(relation: str) -> Projection[Any]:
        table = Table(
            relation,
            (Column("application_id", "integer"), SALES.key),
            key=("application_id", SALES.key.name),
        )
        own: Storage[Any] = Storage(table, lambda key, _: (key,), lambda _: Sales())
        return replace(SALES, columns=(), rows=(), kept=own)

    with pytest.raises(InvalidValue, match=r"a different name for each .*, not sales"):
        SessionStore.open("memory:", projections=[kept_in("ours"), kept_in("theirs")])


# --- what is kept of views


def test_fields_of_a_view_are_columns_beside_it(open_store: OpenStore) -> None:
    store = open_store(projections=inline(SALES))
    store.execute("a", OpenSession())
    store.execute("a", add("x", price="0.1", quantity=3))

    ((session_id, total),) = store.query("SELECT session_id, total FROM sales")
    assert (session_id, Decimal(str(total))) == ("a", Decimal("0.3"))
    assert stored(store).get("a") == Sales(Decimal("0.3"), (Line("x", 3),))
    assert stored(store).get("b") is None


def test_rows_come_change_and_go_with_their_view(open_store: OpenStore, clock: Clock) -> None:
    store = open_store(now=clock, projections=inline(SALES))
    store.execute("a", OpenSession())
    assert store.query(LINES) == []

    for sku in ("x", "y", "z"):
        store.execute("a", add(sku))
    store.execute("b", OpenSession())
    store.execute("b", add("x"))
    assert store.query(LINES) == [
        ("a", "x", 1, None),
        ("a", "y", 1, None),
        ("a", "z", 1, None),
        ("b", "x", 1, None),
    ]

    store.execute("a", SetQuantity(position=1, quantity=5))
    store.execute("a", RemoveItem(position=0))
    clock.move(minutes=1)
    store.execute("a", CloseSession())

    closed = clock.time
    lines = [
        (session, sku, units, at and datetime.fromisoformat(at))
        for session, sku, units, at in store.query(LINES)
    ]
    assert lines == [("a", "y", 5, closed), ("a", "z", 1, closed), ("b", "x", 1, None)]
    assert verify(store) == []


def test_a_view_is_asked_for_by_one_question(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(projections=inline(MENDED))
    store.execute("s", OpenSession())
    sales, questions = StoredProjection(store, MENDED), []
    query = store.rows

    def counted(*asked: Any) -> Any:
        questions.append(asked)
        return query(*asked)

    monkeypatch.setattr(store, "rows", counted)
    assert sales.get("s") == Sales()
    assert sales.get("t") is None
    assert len(questions) == 2


def test_a_view_of_another_version_is_not_read_however_soon_it_comes(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(projections=inline(MENDED))
    store.execute_many("s", [OpenSession(), add("x", price="1")])
    sales, query = StoredProjection(store, MENDED), store.rows
    dearer = replace(MENDED, version=2, fold=lambda view, _: view or Sales(total=Decimal(100)))

    def switched_before(*asked: Any) -> Any:
        monkeypatch.setattr(store, "rows", query)
        knows = SessionStore(store.recorder.database, 1, projections=inline(dearer), read_only=True)
        rebuild(knows)
        return query(*asked)

    assert there(sales.get("s")).total == 1
    monkeypatch.setattr(store, "rows", switched_before)
    with pytest.raises(ProjectionNotKept):
        sales.get("s")


def test_a_view_of_a_store_that_runs_it_live_asks_for_no_relation_that_is_not_there(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(projections=inline(MENDED))
    store.execute_many("s", [OpenSession(), add("x", price="1")])
    sales, failed, query = StoredProjection(store, MENDED), list[object](), store.rows
    rebuild(store, names=["sales"], mode="live")

    def watched(*asked: Any) -> Any:
        try:
            return query(*asked)
        except SessionsError as error:
            failed.append(error)
            raise

    monkeypatch.setattr(store, "rows", watched)
    assert [there(sales.get("s")).total for _ in range(3)] == [1, 1, 1]
    assert len(failed) == 1  # it was kept when it was made
    rebuild(store, names=["sales"], mode="inline")
    assert [there(sales.get("s")).total for _ in range(3)] == [1, 1, 1]
    assert len(failed) == 1


def test_only_rows_that_changed_are_written(open_store: OpenStore) -> None:
    store = open_store(projections=inline(SALES))
    store.execute("a", OpenSession())
    store.execute("a", add("x"))
    store.execute("a", add("y"))
    with store.recorder.database.writing() as connection:
        connection.execute("UPDATE sold_lines SET units = 99 WHERE sku = 'x'")

    store.execute("a", SetQuantity(position=1, quantity=2))

    assert store.query(LINES) == [("a", "x", 99, None), ("a", "y", 2, None)]


def test_an_event_that_changes_no_view_writes_none(open_store: OpenStore) -> None:
    store = open_store(projections=inline(replace(SPEND, keys=lambda _: ("all",))))
    store.execute("a", OpenSession(profile_id="p"))
    with store.recorder.database.writing() as connection:
        connection.execute("UPDATE spend SET opened = 99")

    store.execute("a", add("x"))
    store.execute("a", CloseSession())

    assert store.query("SELECT profile_id, opened FROM spend") == [("all", 99)]


class Tally(msgspec.Struct):
    """A view that can be changed in place."""

    units: int = 0


def test_an_event_that_changes_no_view_that_can_be_changed_writes_none_either(
    open_store: OpenStore,
) -> None:
    def fold(view: Tally | None, recorded: Recorded) -> Tally:
        tally = view or Tally()
        tally.units += isinstance(recorded.event, ItemAdded)
        return tally

    tally = Projection(
        name="tally", version=1, view=Tally, fold=fold, columns=(Column("units", "integer"),)
    )
    store = open_store(projections=inline(tally))
    store.execute("a", OpenSession())
    store.execute("a", add("x"))
    with store.recorder.database.writing() as connection:
        connection.execute("UPDATE tally SET units = 99")

    store.execute("a", CloseSession())

    assert store.query("SELECT key, units FROM tally") == [("a", 99)]


def test_only_the_types_that_are_wanted_are_folded(open_store: OpenStore) -> None:
    wants_two = replace(SALES, types=(ItemAdded, SessionClosed))
    store = open_store(projections=inline(wants_two))
    store.execute("a", OpenSession())
    assert stored(store).get("a") is None

    store.execute("a", add("x"))
    store.execute("a", SetQuantity(position=0, quantity=9))

    assert stored(store).get("a") == Sales(Decimal("59.9"), (Line("x", 1),))
    assert verify(store) == []
    rebuild(store)
    assert stored(store).get("a") == Sales(Decimal("59.9"), (Line("x", 1),))


def test_a_view_may_be_of_what_several_sessions_share_and_an_event_of_two_views(
    open_store: OpenStore,
) -> None:
    store = open_store(projections=inline(SPEND))
    store.execute("a", OpenSession(profile_id="p"))
    store.execute("b", OpenSession(profile_id="p"))
    store.execute("b", SetProfile(profile_id="q"))

    spend = stored(store, "spend")
    assert (spend.get("p"), spend.get("q")) == (Spend(2, 1), Spend(0, 1))
    assert spend.get("p", position=2) == Spend(2, 0)
    assert spend.get("q", position=2) is None
    assert verify(store) == []


def test_a_key_that_is_named_twice_is_folded_as_often_as_it_is_asked_for(
    open_store: OpenStore,
) -> None:
    twice = replace(SPEND, keys=lambda recorded: (*profiles(recorded), *profiles(recorded)))
    store = open_store(projections=inline(twice))
    store.execute("a", OpenSession(profile_id="p"))

    spend = stored(store, "spend")
    assert spend.get("p") == spend.get("p", position=1)


def test_a_key_that_is_named_twice_is_folded_once_though_a_signal_comes_between(
    open_store: OpenStore,
) -> None:
    signals = [TimeoutError("a handler raises it wherever it interrupts")]

    def twice(recorded: Recorded) -> Sequence[Key]:
        if signals:
            raise signals.pop()
        return (*profiles(recorded), *profiles(recorded))

    store = open_store(projections=inline(replace(SPEND, keys=twice)))
    store.execute("a", OpenSession(profile_id="p"))

    assert stored(store, "spend").get("p") == Spend(1)
    assert verify(store) == []


def test_keys_of_any_length_and_text_are_told_apart(open_store: OpenStore) -> None:
    names = ["p", "P", "p ", "\N{PILE OF POO}" * 1000, "p" * 999, "p" * 1000, "'; --", "%", "é"]
    store = open_store(projections=inline(SPEND))
    for number, name in enumerate(names):
        for again in range(2):
            store.execute(f"s-{number}-{again}", OpenSession(profile_id=name))

    assert [stored(store, "spend").get(name) for name in names] == [Spend(2)] * len(names)
    rebuild(store)
    assert [stored(store, "spend").get(name) for name in names] == [Spend(2)] * len(names)
    assert verify(store) == []


class Sets(msgspec.Struct, frozen=True):
    """A view with sets, which have another order in each process, and with what is beside them."""

    units: frozenset[int] = frozenset()
    skus: dict[int, frozenset[str]] = {}
    price: Decimal = Decimal(0)
    share: float = 0.5
    at: datetime | None = None


def _collect(view: Sets | None, recorded: Recorded) -> Sets:
    event, before = recorded.event, view or Sets()
    assert isinstance(event, ItemAdded)
    of_line = before.skus.get(event.position, frozenset())
    skus = before.skus | {event.position: of_line | {event.item.sku}}
    return Sets(before.units | {event.quantity}, skus, event.item.price, at=recorded.at)


def test_a_set_is_kept_in_one_order_whoever_folds(open_store: OpenStore, clock: Clock) -> None:
    sets = Projection(
        name="sets", version=1, view=Sets, fold=_collect, types=(ItemAdded,), mode="inline"
    )
    store = open_store(projections=(*installed(), sets), now=clock)
    store.execute("s", OpenSession())

    for units, price in ((16, "12345678.901"), (8, "2"), (1, "12345678.901")):  # 16 and 8 collide
        store.execute("s", add("a", price, quantity=units))

    ((document,),) = store.query("SELECT document FROM sets")
    assert document == (
        '{"units":[1,8,16],"skus":{"0":["a"],"1":["a"]},"price":12345678.901,"share":0.5,'
        '"at":"2026-11-23T10:00:00Z"}'
    )
    assert stored(store, "sets").get("s") == stored(store, "sets").get("s", position=store.position)


class Share(msgspec.Struct, frozen=True):
    events: int = 0
    share: float = 0  # which is no float

    @property
    def shown(self) -> str:
        return f"{self.events}: {self.share}"


def _share(view: Share | None, _: Recorded) -> Share:
    before = view or Share()
    return msgspec.structs.replace(before, events=before.events + 1)


@pytest.mark.parametrize("mode", ["inline", "followed"])
def test_a_view_is_what_is_read_again_whether_it_was_or_not(
    open_store: OpenStore, mode: Mode
) -> None:
    shares = Projection(
        name="shares",
        version=1,
        view=Share,
        fold=_share,
        columns=(Column("shown"),),
        rows=(Rows("shown_rows", (Column("shown"),), ("shown",), lambda view: [(view.shown,)]),),
        mode=mode,
    )
    store = open_store(projections=[*installed(), shares])
    asked = "SELECT shares.shown, shown_rows.shown, document FROM shares, shown_rows"

    def follow() -> None:
        if mode == "followed":
            Runner(store).run(until=store.position)

    store.execute_many("a", [OpenSession(), add("a")])
    follow()
    first = store.query(asked)
    store._writer._views.forget()  # as another process has them
    store.execute("a", add("b"))
    follow()

    assert first == [("2: 0.0", "2: 0.0", '{"events":2,"share":0.0}')]
    assert store.query(asked) == [("3: 0.0", "3: 0.0", '{"events":3,"share":0.0}')]
    past: Any = stored(store, "shares").get("a", position=2)
    assert (past.shown, verify(store)) == ("2: 0.0", [])
    assert all(not each.differing for each in rebuild(store, names=["shares"]).compared)


class Counted(msgspec.Struct):  # not frozen
    events: int = 0


class Units(msgspec.Struct, frozen=True):
    by_sku: dict[str, int] = {}


@dataclass
class Last:
    at: datetime | None = None
    events: int = field(default=0, compare=False)


class Flags(TypedDict, total=False):
    seen: int | bool


class Box(msgspec.Struct, Generic[T], frozen=True):
    item: T
    others: tuple[T, ...] = ()


def _count(view: Counted | None, _: Recorded) -> Counted:
    view = view or Counted()
    view.events += 1
    return view


def _add_units(view: Units | None, recorded: Recorded) -> Units:
    view = view or Units()
    match recorded.event:
        case ItemAdded(item=item, quantity=more):
            view.by_sku[item.sku] = view.by_sku.get(item.sku, 0) + more
        case _:
            pass
    return view


def _last(view: Last | None, recorded: Recorded) -> Last:
    view = view or Last()
    view.at, view.events = recorded.at, view.events + 1
    return view


def _flag(view: Flags | None, _: Recorded) -> Flags:
    if view is None:
        return {"seen": 1}
    view["seen"] = True  # which Python says is 1
    return view


def _box(view: Box[Any] | None, recorded: Recorded) -> Box[Any]:
    return Box(recorded.version, (view.item, *view.others) if view else ())


def _list(view: Box[Any] | None, recorded: Recorded) -> Box[Any]:
    view = view or Box([])
    view.item.append(recorded.version)
    return view


@pytest.mark.parametrize("mode", ["inline", "followed", "live"])
@pytest.mark.parametrize(
    ("folding", "expected"),
    [
        ((Counted, _count), Counted(3)),
        ((Units, _add_units), Units({"a": 2, "b": 1})),
        ((Last, _last), Last(datetime(2026, 11, 23, 10, tzinfo=UTC), 3)),
        ((Flags, _flag), {"seen": True}),
        ((Box[int], _box), Box(3, (2, 1))),
        ((Box[list[int]], _list), Box([1, 2, 3])),
    ],
)
def test_a_fold_that_changes_its_view_in_place_makes_the_same_views_as_any_other(
    open_store: OpenStore, clock: Clock, mode: Mode, folding: Any, expected: object
) -> None:
    view, fold = folding
    changing = Projection(name="changing", version=1, view=view, fold=fold, mode=mode)
    store = open_store(projections=[*installed(), changing], now=clock)
    store.execute_many("s", [OpenSession(), add("a", quantity=2)])
    with suppress(ZeroDivisionError), store.batch():
        store.execute("s", add("c"))
        raise ZeroDivisionError
    store.execute("s", add("b"), dry_run=True)

    store.execute("s", add("b"))

    if mode == "followed":
        Runner(store).run(until=store.position)
    found = stored(store, "changing").get("s")
    assert (found, repr(found)) == (expected, repr(expected))
    assert repr(stored(store, "changing").get("s", position=store.position)) == repr(expected)
    assert verify(store) == []


class Plundering(msgspec.Struct, frozen=True):
    events: int = 0


def _plunder(view: Plundering | None, recorded: Recorded) -> Plundering:
    recorded.metadata.clear()
    match recorded.event:
        case AttributesChanged(values=values):
            values.pop("secret", None)
        case ItemAdded(item=item):
            item.attributes["found"] = True
        case _:
            pass
    return Plundering(1 + (view.events if view else 0))


@pytest.mark.parametrize("mode", ["inline", "followed"])
@pytest.mark.parametrize("name", ["a_plunder", "z_plunder"])
def test_a_fold_that_changes_its_event_changes_neither_the_log_nor_what_others_see(
    open_store: OpenStore, mode: Mode, name: str
) -> None:
    plunder = Projection(name=name, version=1, view=Plundering, fold=_plunder, mode=mode)
    projections = sorted([*installed(), plunder], key=lambda each: each.name)
    store = open_store(projections=projections)
    attributes = {"city": "B", "secret": "x"}
    commands: list[Command] = [OpenSession(), SetAttributes(attributes=attributes), add("a")]

    answers = store.execute_many("s", commands, metadata={"actor": "ada"}, idempotency_key="k")
    if mode == "followed":
        Runner(store).run(until=store.position)
    rebuild(store)

    log = list(store.log())
    assert [each for done in answers for each in done.events] == log
    assert store.answered("k") == answers
    assert {recorded.metadata["actor"] for recorded in log} == {"ada"}
    assert cast("AttributesChanged", log[1].event).values == attributes
    assert cast("ItemAdded", log[2].event).item.attributes == {}
    assert CustomerSessions(store).get("s").attributes == attributes
    assert store.execute("s", SetAttributes(attributes=attributes)).events == []
    assert verify(store) == []


# --- its indexes


LONG = {name: f"{name}_{'x' * 60}"[:60] for name in ("one", "two")}


def test_any_columns_may_have_indexes_however_long_their_names_are(open_store: OpenStore) -> None:
    name, columns = "s" * 30, [Column("total", "money"), *[Column(each) for each in LONG.values()]]
    sale = msgspec.defstruct(
        "Sale", [("total", Decimal, Decimal(0)), *[(each, str, "") for each in LONG.values()]]
    )
    sales = Projection(
        name=name,
        version=1,
        view=sale,
        fold=lambda view, _: view or sale(),
        columns=tuple(columns),
        indexes=(
            *[("application_id", first, "total") for first in LONG.values()],
            *[("application_id", *LONG.values(), last) for last in ("total", "key")],
            ("application_id", "total"),
            ("application_id", "total"),
        ),
    )
    store = open_store(projections=inline(sales))
    store.execute("a", OpenSession())

    assert rebuild(store).switched
    assert rebuild(store).switched
    assert stored(store, name).get("a") == sale()
    assert verify(store) == []


def test_one_that_is_kept_no_longer_may_be_begun_anew(open_store: OpenStore) -> None:
    indexed = replace(SALES, indexes=(("application_id", "total"),))
    store = open_store(projections=inline(indexed))
    store.execute("a", OpenSession())
    database = store.recorder.database
    without = SessionStore(database, 1, read_only=True, projections=installed())
    assert rebuild(without).retired == ["sales 1"]

    again = SessionStore(database, 1, projections=(*installed(), indexed))
    for _ in range(2):
        Runner(again).run(until=again.position)

    assert stored(again).get("a") == Sales()
    assert verify(again) == []


# --- views in memory


def test_views_that_are_held_no_longer_are_read_again(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.views.inline.HELD", 1)
    store = open_store(projections=inline(MENDED, SPEND))
    for number in range(3):
        store.execute(f"s{number}", OpenSession(profile_id="p"))
    for turn in range(3):
        for number in range(3):
            store.execute(f"s{number}", add(f"x{turn}"))
    store.execute_all([(f"s{number}", SetProfile(profile_id="q")) for number in range(3)])

    assert [len(there(stored(store).get(f"s{number}")).lines) for number in range(3)] == [3, 3, 3]
    assert stored(store, "spend").get("q") == Spend(0, 3)
    assert verify(store) == []


def test_commands_that_share_a_transaction_are_folded_in_their_order(open_store: OpenStore) -> None:
    store = open_store(projections=inline(SALES, SPEND))
    with store.batch():
        for number in range(3):
            store.execute(f"s{number}", OpenSession(profile_id="p"))
            assert stored(store, "spend").get("p") == Spend(number + 1)
            store.execute(f"s{number}", add("x"))
        with pytest.raises(SessionsError):
            store.execute("s0", OpenSession(profile_id="p"))
    store.execute_all([(f"t{number}", OpenSession(profile_id="p")) for number in range(4)])

    assert stored(store, "spend").get("p") == Spend(7)
    assert [units for _, _, units, _ in store.query(LINES)] == [1, 1, 1]
    assert verify(store) == []


def test_what_a_batch_drops_is_in_no_view(open_store: OpenStore) -> None:
    store = open_store(projections=inline(SALES, SPEND))
    store.execute("s", OpenSession(profile_id="p"))

    def load() -> None:
        with store.batch():
            store.execute("t", OpenSession(profile_id="p"))
            assert stored(store, "spend").get("p") == Spend(2)
            raise KeyError

    with pytest.raises(KeyError):
        load()
    store.execute("u", OpenSession(profile_id="p"))

    assert stored(store, "spend").get("p") == Spend(2)
    assert verify(store) == []


def test_two_stores_that_write_in_turn_keep_shared_views_right(open_store: OpenStore) -> None:
    stores = [open_store(projections=inline(SALES, SPEND)) for _ in range(2)]
    for number in range(6):
        stores[number % 2].execute(f"s{number}", OpenSession(profile_id="p"))
        for turn in (0, 1, 1, 0):
            stores[turn].execute(f"s{number}", add(f"x{turn}"))

    for store in stores:
        assert stored(store, "spend").get("p") == Spend(6)
        assert store.query("SELECT count(*), sum(units) FROM sold_lines") == [(12, 24)]
        assert verify(store) == []


def write(url: str, number: int) -> None:
    """Open sessions of one profile, and sell."""
    with SessionStore.open(url, projections=inline(SALES, SPEND)) as store:
        for written in range(10):
            store.execute(f"s{number}-{written}", OpenSession(profile_id="p"))
            store.execute(f"s{number}-{written}", add("x"))


def test_four_processes_keep_shared_views_right(url: str) -> None:
    in_processes(4, write, url)

    with SessionStore.open(url, projections=inline(SALES, SPEND)) as store:
        assert stored(store, "spend").get("p") == Spend(40)
        assert verify(store) == []


# --- who keeps what


def test_a_store_that_keeps_nothing_refuses_a_writer_with_inline_views(
    open_store: OpenStore,
) -> None:
    bare = open_store(projections=[])
    bare.execute("a", OpenSession())
    database = bare.recorder.database

    with pytest.raises(ViewsDiffer):
        SessionStore(database, 1).execute("b", OpenSession())


REBUILD = "run `sessions projections rebuild"


def test_a_writer_that_lacks_an_inline_projection_is_refused(open_store: OpenStore) -> None:
    store = open_store(projections=inline(SALES))
    store.execute("a", OpenSession())
    database = store.recorder.database

    for other, advice in (
        (installed(), "install sales here, or run `sessions rebuild` to stop keeping it"),
        (inline(replace(SALES, version=2)), f"{REBUILD} sales`"),
        (inline(SALES, SPEND), f"{REBUILD} spend`"),
        (inline(replace(SALES, version=2), SPEND), f"{REBUILD} sales spend`"),
    ):
        with pytest.raises(ViewsDiffer) as refused:
            SessionStore(database, 1, projections=other)
        assert refused.value.advice == advice

    SessionStore(database, 1, projections=inline(SALES)).execute("a", add("x"))
    assert verify(store) == []


def test_a_writer_that_is_older_is_told_to_upgrade_whatever_else_it_lacks(
    open_store: OpenStore,
) -> None:
    store = open_store(projections=inline(replace(SALES, version=2), SPEND))
    store.execute("a", OpenSession())

    for older in (inline(SALES, SPEND), inline(SALES)):
        with pytest.raises(ViewsDiffer) as refused:
            SessionStore(store.recorder.database, 1, projections=older)
        assert refused.value.advice == "upgrade this process"


def test_a_writer_that_is_refused_is_told_what_it_has_of_what_the_store_keeps(
    open_store: OpenStore,
) -> None:
    store = open_store(projections=in_mode("inline", SALES))
    store.execute("a", OpenSession())
    others = in_mode("followed", replace(SALES, version=2), SPEND)

    with pytest.raises(ViewsDiffer) as refused:
        SessionStore(store.recorder.database, 1, projections=others)

    assert refused.value.stored == "attachments 1, customer_sessions 1, sales 1"
    assert refused.value.found == "attachments 1, customer_sessions 1, sales 2"


WIDER = with_columns(*SALES.rows[0].columns, Column("a"), Column("b"), name="sold_lines")
OTHER = with_columns(*SALES.rows[0].columns, name="sold_twice")


with_a_new_column = pytest.mark.parametrize(
    ("other", "lacking"),
    [
        (replace(SALES, columns=(*SALES.columns, Column("lines", "integer"))), "sales.lines"),
        (replace(SALES, rows=(WIDER,)), "sold_lines.a, sold_lines.b"),
        (replace(SALES, rows=(*SALES.rows, OTHER)), "sold_twice"),
    ],
)


@with_a_new_column
def test_a_new_column_of_an_inline_projection_needs_a_new_version(
    open_store: OpenStore, other: Projection[Any], lacking: str
) -> None:
    store = open_store(projections=inline(SALES))
    store.execute("a", OpenSession())
    database = store.recorder.database

    with pytest.raises(ViewsDiffer) as refused:
        SessionStore(database, 1, projections=inline(other))
    assert refused.value.stored == "sales 1"
    assert refused.value.found == f"sales 1 with {lacking}"
    assert refused.value.advice == "raise its version, and run `sessions projections rebuild sales`"

    newer = inline(replace(MENDED, rows=(WIDER, OTHER), version=2))
    rebuild(SessionStore(database, 1, read_only=True, projections=newer))
    SessionStore(database, 1, projections=newer).execute("a", add("x"))


@with_a_new_column
def test_a_new_column_of_a_followed_projection_needs_a_new_version(
    open_store: OpenStore, other: Projection[Any], lacking: str
) -> None:
    store = open_store(projections=[SALES])
    store.execute("a", OpenSession())
    Runner(store).run(until=1)
    changed = SessionStore(store.recorder.database, 1, projections=[other])

    with pytest.raises(ViewsDiffer) as refused:
        Runner(changed).run()
    assert refused.value.stored == "sales 1"
    assert refused.value.found == f"sales 1 with {lacking}"
    assert refused.value.advice == "raise its version, and run `sessions projections rebuild sales`"

    store.execute("a", add("x"))
    Runner(store).run(until=2)  # who has it as it is kept goes on
    assert verify(store) == []


@with_a_new_column
def test_a_new_column_without_a_new_version_is_named_by_all_who_need_it(
    open_store: OpenStore, other: Projection[Any], lacking: str
) -> None:
    store = open_store(projections=[SALES])
    store.execute_many("a", [OpenSession(), add("x")])
    Runner(store).run(until=2)
    changed = SessionStore(store.recorder.database, 1, read_only=True, projections=[other])
    needed = f"sales 1 with {lacking}"

    for call in (lambda: verify(changed), lambda: rebuild(changed, names=["sales"])):
        with pytest.raises(ViewsDiffer) as refused:
            call()
        assert (refused.value.stored, refused.value.found) == ("sales 1", needed)
    if lacking == "sales.lines":  # rows are read by SQL alone
        with pytest.raises(ViewsDiffer):
            StoredProjection(changed, other).get("x")
    else:
        assert StoredProjection(changed, other).get("x") == StoredProjection(store, SALES).get("x")

    assert verify(store) == []


@pytest.mark.parametrize("dropped", ["sales", "sold_lines"])
def test_a_relation_that_somebody_dropped_is_named_and_a_rebuild_makes_it_again(
    open_store: OpenStore, dropped: str
) -> None:
    store = open_store(projections=inline(MENDED))
    store.execute_many("a", [OpenSession(), add("x")])
    database = store.recorder.database
    with database.writing() as connection:
        connection.execute(f"DROP TABLE {dropped}")

    calls: list[Callable[[], object]] = [
        lambda: verify(store),
        lambda: SessionStore(database, 1, projections=inline(MENDED)),
        lambda: store.execute("a", add("y")),
    ]
    if dropped == "sales":
        calls.append(lambda: StoredProjection(store, MENDED).get("a"))
    for call in calls:
        with pytest.raises(ViewsDiffer) as refused:
            call()
        assert refused.value.stored == f"sales 1 without {dropped}, which somebody dropped"
        assert refused.value.advice == "run `sessions projections rebuild sales`"

    assert rebuild(store, names=["sales"]).switched
    assert verify(store) == []


def test_columns_of_what_is_switched_meanwhile_are_no_reason_to_refuse(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(projections=inline(SALES))
    store.execute("a", OpenSession())
    database, columns = store.recorder.database, type(store.recorder.database).columns
    wider = replace(MENDED, rows=(WIDER,))

    def switched(self: Database, query: Query, names: Sequence[str]) -> set[tuple[str, str]]:
        found = columns(self, query, names)
        monkeypatch.setattr(type(database), "columns", columns)  # the rebuild looks too
        followed = (*installed(), replace(SALES, mode="followed"))
        rebuild(SessionStore(database, 1, read_only=True, projections=followed), mode="followed")
        return found

    monkeypatch.setattr(type(database), "columns", switched)
    SessionStore(database, 1, projections=inline(wider))


@pytest.mark.parametrize("mode", ["followed", "live"])
def test_columns_of_what_writers_do_not_keep_are_nothing_to_them(
    open_store: OpenStore, mode: Mode
) -> None:
    store = open_store(projections=in_mode(mode, SALES))
    store.execute("a", OpenSession())

    other = in_mode(mode, replace(SALES, rows=(WIDER,)))
    SessionStore(store.recorder.database, 1, projections=other).execute("b", OpenSession())


def test_tables_of_people_with_a_module_that_is_not_here_are_not_looked_at(
    sqlite_url: str,
) -> None:
    with SessionStore.open(sqlite_url) as store:
        store.execute("a", OpenSession())
        with store.recorder.database.writing() as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(
                "INSERT INTO sqlite_master VALUES "
                "('table', 'mail', 'mail', 0, 'CREATE VIRTUAL TABLE mail USING nowhere(x)')"
            )

    with SessionStore.open(sqlite_url) as store:
        store.execute("b", OpenSession())


def test_columns_that_people_add_are_their_own(store: SessionStore) -> None:
    store.execute("a", OpenSession())
    database = store.recorder.database
    with database.writing() as connection:
        connection.execute("ALTER TABLE customer_sessions ADD COLUMN note text")

    SessionStore(database, 1).execute("b", OpenSession())

    assert verify(store) == []


def test_a_followed_or_live_projection_is_nothing_to_a_writer(open_store: OpenStore) -> None:
    projections = (*installed(), SALES, replace(SPEND, mode="live"))
    store = open_store(projections=projections)
    store.execute("a", OpenSession(profile_id="p"))
    database = store.recorder.database

    SessionStore(database, 1).execute("b", OpenSession(profile_id="p"))
    SessionStore(database, 1, projections=(*installed(), replace(SALES, version=7))).execute(
        "c", OpenSession(profile_id="p")
    )

    assert store.query("SELECT count(*) FROM sales") == [(0,)]
    assert "spend" not in database.relations(store.query)
    assert stored(store, "spend").get("p") == Spend(3)


def test_projections_of_other_packages_are_found_by_their_entry_points(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Entry:
        def load(self) -> Projection[Any]:
            return replace(SPEND, mode="inline")

    names = [each.name for each in installed()]
    assert names == sorted(names)
    assert {"attachments", "customer_sessions"} <= set(names)
    installed.cache_clear()
    try:
        monkeypatch.setattr("sessions.views.installed.entry_points", lambda **_: [Entry()])
        store = open_store()
        store.execute("a", OpenSession(profile_id="p"))
        assert stored(store, "spend").get("p") == Spend(1)
    finally:
        installed.cache_clear()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("json:decoder", "it is an object of the type module"),
        ("json:nothing", "AttributeError"),
        ("no_such_module:PROJECTION", "ModuleNotFoundError.*no_such_module"),
        ("json.nothing:PROJECTION", "ModuleNotFoundError.*; the package json is at .*json"),
        ("broken_shop:PROJECTION", "InvalidValue.*version: a whole number from 1 to 9.*, not 0"),
    ],
)
def test_an_entry_point_that_brings_no_projection_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, why: str
) -> None:
    entry_points = f"[customer_sessions.projections]\nbroken = {value}\n"
    package = tmp_path / "broken_shop-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Name: broken-shop\nVersion: 1.0\n", "utf-8")
    (package / "entry_points.txt").write_text(entry_points, "utf-8")
    (tmp_path / "broken_shop.py").write_text(BROKEN, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    installed.cache_clear()
    try:
        with pytest.raises(
            ProjectionNotLoaded, match=rf"entry point broken \({value}\) does not provide .*{why}"
        ):
            SessionStore.open("memory:")
        SessionStore.open("memory:", projections=[SALES]).close()
    finally:
        installed.cache_clear()


BROKEN = """
from dataclasses import replace
from tests.sample_projections import SALES

PROJECTION = replace(SALES, version=0)
"""
