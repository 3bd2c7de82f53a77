"""What people gave to the relations of a projection in PostgreSQL, and made of them, goes on to the
build that takes their place; or else it is named, and nothing is switched.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from projections import Runner, StoredProjection, drop, rebuild, status, verify
from sessions import (
    DependentObject,
    DependentPolicy,
    DependentView,
    OpenSession,
    SessionExists,
    SessionStore,
    StorageFailed,
)
from sessions.postgres import dependents
from tests.conftest import add
from tests.sample_projections import BAD, MENDED, SALES, SPEND, in_mode
from tests.tampering import described as asked
from tests.test_rebuild import fill, knows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sessions.postgres.connection import PostgresConnection
    from sessions.sql.head import Mode
    from tests.conftest import OpenStore


@contextmanager
def role(url: str) -> Iterator[tuple[str, str]]:
    """A role that may read nothing yet, and a connection string as which it reads."""
    name = f"reader_{uuid4().hex}"
    server, _, schema = url.rpartition("schema=")
    with psycopg.connect(server.rstrip("?&"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name}".encode())
        try:
            yield name, schema
        finally:
            connection.execute(f"DROP OWNED BY {name}".encode())
            connection.execute(f"DROP ROLE {name}".encode())


def granted(store: SessionStore, what: str, name: str) -> set[str]:
    """What a role may do with a relation, or a column of one."""
    table, _, column = what.partition(".")
    sql = (
        "SELECT privilege_type, is_grantable FROM information_schema.role_table_grants "
        "WHERE table_schema = current_schema() AND table_name = ? AND grantee = ?"
    )
    if column:
        sql = f"{sql.replace('role_table', 'role_column')} AND column_name = '{column}'"
    rows = store.query(sql, (table, name))
    return {f"{may}, may be granted" if on == "YES" else may for may, on in rows}


def test_who_may_use_a_relation_may_use_the_one_that_takes_its_place(postgres_url: str) -> None:
    assert urlsplit(postgres_url).scheme.startswith("postgres")
    projections = in_mode("inline", MENDED, SPEND)
    with (
        SessionStore.open(postgres_url, projections=projections) as store,
        role(postgres_url) as (reader, _),
    ):
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            connection.execute(f"GRANT SELECT ON sales, claims TO {reader}")
            connection.execute(f"GRANT SELECT, UPDATE ON sold_lines TO {reader}")
            connection.execute("GRANT SELECT ON spend TO PUBLIC")
            connection.execute(f"GRANT INSERT ON spend TO {reader} WITH GRANT OPTION")
            connection.execute(f"GRANT SELECT (holder), UPDATE (holder) ON claims TO {reader}")
        for _ in range(2):
            rebuild(store)

            assert granted(store, "sales", reader) == {"SELECT"}
            assert granted(store, "claims", reader) == {"SELECT"}
            assert granted(store, "sold_lines", reader) == {"SELECT", "UPDATE"}
            assert granted(store, "spend", "PUBLIC") == {"SELECT"}
            assert granted(store, "limits", reader) == set()
            assert granted(store, "spend", reader) == {"INSERT, may be granted"}
            assert granted(store, "claims.holder", reader) == {"SELECT", "UPDATE"}
            assert granted(store, "claims.limit_name", reader) == {"SELECT"}


@pytest.mark.parametrize("name", ["my-shop", "Shop", "a b", 'a".b', "\U0001f600' ${;--%s ?1"])
def test_a_schema_and_its_owner_may_have_any_name(postgres: str, name: str) -> None:
    owner, schema = Identifier(f"owner of {name}"), Identifier(name)
    options = f"user={quote(f'owner of {name}')}&schema={quote(name)}"
    url = f"{postgres}{'&' if '?' in postgres else '?'}{options}"
    with psycopg.connect(postgres, autocommit=True) as connection, ExitStack() as finally_:
        for made in ("CREATE ROLE {} LOGIN", "CREATE SCHEMA {1} AUTHORIZATION {0}"):
            connection.execute(SQL(made).format(owner, schema))
        for left in ("DROP ROLE {}", "DROP SCHEMA {1} CASCADE"):
            finally_.callback(connection.execute, SQL(left).format(owner, schema))
        with SessionStore.open(url, projections=in_mode("inline", MENDED, SPEND)) as store:
            fill(store, "a", 1)
            connection.execute(SQL("GRANT SELECT ON {1}.sales TO pg_monitor").format(owner, schema))

            rebuild(store)

            assert granted(store, "sales", "pg_monitor") == {"SELECT"}
            assert verify(store) == []


def seen_as(url: str, name: str, sql: str) -> list[Any]:
    """What a role sees."""
    server, _, schema = url.rpartition("schema=")
    with psycopg.connect(server.rstrip("?&")) as connection:
        connection.execute(f"SET search_path = {schema}; SET ROLE {name}".encode())
        return connection.execute(sql.encode()).fetchall()


def test_what_a_role_must_not_see_it_does_not_see_after_a_rebuild(postgres_url: str) -> None:
    with (
        SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store,
        role(postgres_url) as (reader, schema),
    ):
        fill(store, "a", 3)
        with store.recorder.database.writing() as connection:
            for statement in (
                f"GRANT USAGE ON SCHEMA {schema} TO {reader}",
                f"GRANT SELECT, DELETE ON sales, spend, claims TO {reader}",
                "ALTER TABLE sales ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
                "ALTER TABLE claims ENABLE ROW LEVEL SECURITY",
                f"CREATE POLICY \"It's 100%\" ON sales TO {reader} USING (session_id = 'a1')",
                "CREATE POLICY everybody ON sales AS RESTRICTIVE USING (total > 0)",
                f"CREATE POLICY mine ON sales FOR INSERT TO {reader}, PUBLIC WITH CHECK (TRUE)",
                "CREATE POLICY off ON spend FOR DELETE USING (opened > (SELECT 3))",
            ):
                connection.execute(statement)
        before = secured(store)
        assert len(before) == 4 + 2
        for _ in range(2):
            rebuild(store)

            assert secured(store) == before
            assert seen_as(postgres_url, reader, "SELECT session_id FROM sales") == [("a1",)]
            assert seen_as(postgres_url, reader, "SELECT * FROM claims") == []
            assert len(seen_as(postgres_url, reader, "SELECT * FROM spend")) == 2


def test_a_policy_that_looks_into_another_relation_looks_into_the_new_one(
    postgres_url: str,
) -> None:
    with (
        SessionStore.open(postgres_url) as store,
        role(postgres_url) as (reader, schema),
    ):
        hidden = "SELECT FROM attachments a WHERE a.session_id = {}.session_id AND profile_id = 'x'"
        with store.recorder.database.writing() as connection:
            for statement in (
                "CREATE TABLE mine (session_id text)",
                "INSERT INTO mine VALUES ('a'), ('b'), ('c')",
                f"GRANT USAGE ON SCHEMA {schema} TO {reader}",
                f"GRANT SELECT ON customer_sessions, attachments, mine TO {reader}",
                "ALTER TABLE customer_sessions ENABLE ROW LEVEL SECURITY",
                "ALTER TABLE mine ENABLE ROW LEVEL SECURITY",
                *[
                    f'CREATE POLICY "It\'s" ON {name} USING (NOT EXISTS ({hidden.format(name)}))'
                    for name in ("customer_sessions", "mine")
                ],
            ):
                connection.execute(statement)
        before = secured(store)

        for session in ("a", "b", "c"):
            rebuild(store)
            store.execute(session, OpenSession(profile_id="x" if session == "b" else "p"))

        assert secured(store) == before
        sees = [
            seen_as(postgres_url, reader, f"SELECT session_id FROM {name} ORDER BY 1")
            for name in ("customer_sessions", "mine")
        ]
        assert sees == [[("a",), ("c",)]] * 2
        assert drop(store, "attachments") == ["attachments 1"]


@pytest.mark.parametrize(
    ("made", "what"),
    [
        ("TABLE mine (id text, of sales)", "column of of table mine must .* depends on sales"),
        (
            "TABLE mine (id text, all_of sales[])",
            "column all_of of table mine must .* depends on sales",
        ),
        (
            "FUNCTION mine(sales[]) RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
            r"function mine\(sales\[\]\) must .* depends on sales",
        ),
        (
            "FUNCTION mine() RETURNS SETOF sales LANGUAGE sql AS 'SELECT * FROM sales'",
            r"function mine\(\) must .* depends on sales",
        ),
        ("TABLE mine () INHERITS (sales)", "table mine must .* depends on sales"),
        ("TABLE mine (id text REFERENCES sales (total))", "constraint"),
        ("RULE mine AS ON INSERT TO own DO INSTEAD SELECT 1 FROM sales", "rule mine on view own"),
        (
            "FUNCTION mine() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM sales; END",
            r"function mine\(\) must .* depends on sales",
        ),
    ],
)
def test_what_would_stay_with_the_old_relation_is_named_and_nothing_is_switched(
    postgres_url: str, made: str, what: str
) -> None:
    with SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store:
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            if "REFERENCES" in made:
                connection.execute("CREATE UNIQUE INDEX ON sales (total)")  # of one session
                made = made.replace("id text", "id numeric")
            connection.execute("CREATE VIEW own AS SELECT 1 AS one")
            connection.execute(f"CREATE {made}")

        with pytest.raises(DependentObject, match=f"{what}.* which is to be replaced"):
            rebuild(store)

        with store.recorder.database.writing() as connection:
            kind, name = made.split()[:2]
            on = " ON own" if kind == "RULE" else ""
            connection.execute(f"DROP {kind} {name.partition('(')[0]}{on}")
        for _ in range(2):
            assert rebuild(store).switched


def test_a_materialized_view_of_whole_rows_is_made_again(postgres_url: str) -> None:
    with SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store:
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            connection.execute("CREATE MATERIALIZED VIEW mine AS SELECT s FROM sales AS s")
            connection.execute("CREATE MATERIALIZED VIEW ours AS SELECT array_agg(s) FROM sales s")
        fill(store, "b", 1)

        for _ in range(2):
            assert rebuild(store).switched

        assert len(store.query("SELECT (s).total FROM mine")) == 2
        assert store.query("SELECT cardinality(array_agg) FROM ours") == [(2,)]


OPERATORS = "(CAST(to_json(s) AS jsonb) ? 'total' OR '{}'::jsonb ?| ARRAY['a'])"
"""Of `jsonb`, which are written as the mark of a parameter is."""


@pytest.mark.parametrize(
    "made",
    [
        f"VIEW own AS SELECT session_id FROM sales AS s WHERE {OPERATORS}",
        f"MATERIALIZED VIEW own AS SELECT session_id FROM sales AS s WHERE {OPERATORS}",
        "VIEW own AS SELECT to_json(json_populate_record(NULL::sales, '{}')) AS session_id",
        "VIEW own AS SELECT cardinality('{}'::sales[]) AS session_id",
        f"POLICY own ON sales USING ((SELECT {OPERATORS} FROM (SELECT 1) AS s))",
        f"POLICY own ON mine USING ((SELECT bool_and({OPERATORS}) FROM sales AS s))",
        "POLICY own ON mine USING (NULL::sales IS NULL)",
    ],
)
def test_what_is_made_with_whatever_operators_and_types_is_made_again(
    postgres_url: str, made: str
) -> None:
    with SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store:
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            connection.execute("CREATE TABLE mine (doc jsonb)")
            cast("PostgresConnection", connection).execute_as_it_is(f"CREATE {made}")
            index = "CREATE INDEX ON own (session_id) WHERE '{}'::jsonb ? 'a'"
            if made.startswith("MATERIALIZED"):
                cast("PostgresConnection", connection).execute_as_it_is(index)

        for _ in range(2):
            assert rebuild(store).switched

        if "VIEW" in made:
            assert store.query("SELECT count(*) FROM own") == [(1,)]
        assert len(secured(store)) == ("POLICY" in made)
        assert drop(store, "sales")


def secured(store: SessionStore) -> list[Any]:
    """The policies, and the relations that have row-level security."""
    policies = (
        "SELECT tablename, policyname, permissive, roles, cmd, qual, with_check FROM pg_policies "
        "WHERE schemaname = current_schema() AND tablename NOT LIKE '%build%' ORDER BY 1, 2"
    )
    relations = (
        "SELECT relname, relforcerowsecurity FROM pg_class WHERE relrowsecurity AND "
        "relnamespace = CAST(current_schema() AS regnamespace) AND relname NOT LIKE '%build%' "
        "ORDER BY 1"
    )
    return [*store.query(policies), *store.query(relations)]


def test_a_policy_that_cannot_be_made_again_is_named_and_nothing_is_switched(
    postgres_url: str,
) -> None:
    with SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store:
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            connection.execute("CREATE POLICY rich ON sales USING (total > 0)")
        builder = knows(store, replace(MENDED, version=2, columns=()), SPEND)

        with pytest.raises(DependentPolicy, match=r"policy rich of sales .*total.* does not exist"):
            rebuild(builder)

        fill(store, "b", 1)
        with store.recorder.database.writing() as connection:
            connection.execute("DROP POLICY rich ON sales")
        assert rebuild(builder).switched


def test_what_was_said_of_a_relation_is_said_of_the_one_that_takes_its_place(
    postgres_url: str,
) -> None:
    with SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store:
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            connection.execute("COMMENT ON TABLE sales IS 'it''s 100%'")
            connection.execute("COMMENT ON COLUMN sales.session_id IS 'whose'")
            connection.execute("COMMENT ON COLUMN sales.total IS 'how much'")
        said = (
            "SELECT description FROM pg_description WHERE objoid = CAST('sales' AS regclass) "
            "AND classoid = CAST('pg_class' AS regclass) ORDER BY objsubid"
        )

        rebuild(store)
        assert store.query(said) == [("it's 100%",), ("whose",), ("how much",)]
        rebuild(knows(store, replace(MENDED, version=2, columns=()), SPEND))
        assert store.query(said) == [("it's 100%",), ("whose",)]


def test_a_view_that_people_made_of_a_relation_shows_the_current_build(
    open_store: OpenStore,
) -> None:
    store = open_store(projections=in_mode("inline", MENDED, SPEND))
    fill(store, "a", 1)
    with store.recorder.database.writing() as connection:
        connection.execute("CREATE VIEW mine AS SELECT session_id FROM sales")
        connection.execute(
            "CREATE VIEW crossed AS SELECT spend.opened, mine.session_id FROM mine CROSS JOIN spend"
        )
        connection.execute("CREATE VIEW held AS SELECT limit_name FROM claims")
    for number in range(3):
        rebuild(store)
        fill(store, f"b{number}-", 1)

    assert store.query("SELECT count(*) FROM mine") == [(4,)]
    assert store.query("SELECT count(*) FROM crossed") == [(8,)]
    assert store.query("SELECT count(*) FROM held") == store.query("SELECT count(*) FROM claims")


def test_a_view_that_is_made_again_keeps_its_options_and_its_grants(postgres_url: str) -> None:
    with (
        SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store,
        role(postgres_url) as (reader, _),
    ):
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            connection.execute(
                'CREATE VIEW "My view" WITH (security_barrier=true, check_option=local) '
                "AS SELECT session_id FROM sales WHERE session_id <> 'it''s'"
            )
            connection.execute(f'GRANT SELECT ON "My view" TO {reader}')

        rebuild(store)

        options = "SELECT reloptions FROM pg_class WHERE oid = CAST(? AS regclass)"
        assert store.query(options, ('"My view"',)) == [
            (["security_barrier=true", "check_option=local"],)
        ]
        assert granted(store, "My view", reader) == {"SELECT"}
        assert store.query('SELECT session_id FROM "My view"') == [("a0",)]


def test_a_materialized_view_is_made_again_with_its_data_indexes_and_grants(
    postgres_url: str,
) -> None:
    with (
        SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store,
        role(postgres_url) as (reader, _),
    ):
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            for statement in (
                "CREATE VIEW mine AS SELECT session_id FROM sales",
                (
                    'CREATE MATERIALIZED VIEW "My sales" WITH (fillfactor=70) AS '
                    "SELECT sales.session_id, (SELECT max(opened) FROM spend) AS opened FROM sales "
                    "JOIN mine ON mine.session_id = sales.session_id"
                ),
                'CREATE UNIQUE INDEX "My index" ON "My sales" (session_id)',
                'CREATE INDEX ON "My sales" (opened) WHERE opened > 0',
                f'GRANT SELECT ON "My sales" TO {reader} WITH GRANT OPTION',
                'GRANT SELECT ON "My sales" TO PUBLIC',
                f'GRANT SELECT (opened) ON "My sales" TO {reader}',
                """COMMENT ON MATERIALIZED VIEW "My sales" IS 'it''s mine'""",
                """COMMENT ON COLUMN "My sales".opened IS 'sessions'""",
                """COMMENT ON INDEX "My index" IS 'one each'""",
                "CREATE MATERIALIZED VIEW empty AS SELECT session_id FROM sales WITH NO DATA",
            ):
                connection.execute(statement)
        before = described(store)
        fill(store, "b", 1)

        for _ in range(2):
            rebuild(store)

        assert described(store) == before
        assert store.query('SELECT session_id FROM "My sales" ORDER BY 1') == [("a0",), ("b0",)]
        fill(store, "c", 1)
        with store.recorder.database.writing() as connection:
            connection.execute('REFRESH MATERIALIZED VIEW "My sales"')
        assert store.query('SELECT count(*) FROM "My sales"') == [(3,)]
        assert drop(store, "sales") == ["sales 1"]


def described(store: SessionStore) -> list[Any]:
    """All that is told of the materialized views but their data."""
    return [
        asked(store.recorder.database, sql)
        for sql in (
            (
                "SELECT matviewname, matviewowner, ispopulated, definition FROM pg_matviews "
                "WHERE schemaname = current_schema() ORDER BY 1"
            ),
            (
                "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() "
                "AND tablename = 'My sales' ORDER BY 1"
            ),
            (
                "SELECT relname, CAST(relacl AS text), CAST(reloptions AS text), "
                "obj_description(oid, 'pg_class') FROM pg_class WHERE relkind = 'm' "
                "AND relnamespace = CAST(current_schema() AS regnamespace) ORDER BY 1"
            ),
            (
                "SELECT attname, CAST(attacl AS text), col_description(attrelid, attnum) "
                "FROM pg_attribute WHERE attrelid = CAST('\"My sales\"' AS regclass) ORDER BY 1"
            ),
            """SELECT obj_description(CAST('"My index"' AS regclass), 'pg_class')""",
        )
    ]


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ("VIEW mine AS SELECT session_id, total FROM sales", "total.* does not exist"),
        ("MATERIALIZED VIEW mine AS SELECT session_id, total FROM sales", "total.* does not exist"),
    ],
)
def test_a_view_that_cannot_be_made_again_is_named_and_nothing_is_switched(
    postgres_url: str, made: str, why: str
) -> None:
    with SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store:
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            connection.execute(f"CREATE {made}")
        builder = knows(store, replace(MENDED, version=2, columns=()), SPEND)

        with pytest.raises(DependentView, match=f"mine cannot be recreated on the new.*{why}"):
            rebuild(builder)

        assert store.query("SELECT session_id FROM mine") == [("a0",)]
        fill(store, "b", 1)
        with store.recorder.database.writing() as connection:
            connection.execute(f"DROP {made.partition(' AS ')[0]}")
        assert rebuild(builder).switched


@pytest.mark.parametrize(
    ("of", "change", "mode"),
    [("sales", {}, "live"), ("sold_lines", {"version": 2, "rows": ()}, "inline")],
)
def test_a_view_of_a_relation_that_goes_is_named_and_nothing_is_switched(
    postgres_url: str, of: str, change: dict[str, Any], mode: Mode
) -> None:
    with SessionStore.open(postgres_url, projections=in_mode("inline", MENDED)) as store:
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            connection.execute(f"CREATE VIEW mine AS SELECT session_id FROM {of}")
            connection.execute(f"GRANT SELECT ON {of} TO pg_monitor")
            connection.execute(f"COMMENT ON TABLE {of} IS 'sold'")
        builder = knows(store, replace(MENDED, **change))

        with pytest.raises(DependentView, match=f'mine cannot be .*"{of}" does not exist'):
            rebuild(builder, names=["sales"], mode=mode)

        fill(store, "b", 1)
        assert ("b0",) in store.query("SELECT session_id FROM mine")
        with store.recorder.database.writing() as connection:
            connection.execute("DROP VIEW mine")
        assert rebuild(builder, names=["sales"], mode=mode).switched


def test_a_materialized_view_of_which_others_are_made_is_named_with_them(
    postgres_url: str,
) -> None:
    with SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store:
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            connection.execute("CREATE MATERIALIZED VIEW mine AS SELECT session_id FROM sales")
            connection.execute("CREATE VIEW above AS SELECT session_id FROM mine")

        with pytest.raises(DependentView, match=r"mine cannot be .*view above depends on"):
            rebuild(store)

        assert store.query("SELECT session_id FROM above") == [("a0",)]
        fill(store, "b", 1)
        assert verify(store) == []


# --- what is given by default, and to whom it belongs


def test_what_was_taken_back_is_not_given_again_by_default(postgres_url: str) -> None:
    projections = in_mode("inline", MENDED, SPEND)
    with role(postgres_url) as (reader, schema):
        with (
            SessionStore.open(postgres_url, projections=[]) as empty,
            empty.recorder.database.writing() as connection,
        ):
            by_default = f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT ALL ON TABLES TO"
            connection.execute(f"{by_default} {reader}")
        with SessionStore.open(postgres_url, projections=projections, read_only=True) as store:
            rebuild(store)
        with SessionStore.open(postgres_url, projections=projections) as store:
            fill(store, "a", 1)
            with store.recorder.database.writing() as connection:
                for statement in (
                    f"REVOKE ALL ON sales, claims FROM {reader}",
                    f"GRANT SELECT (session_id) ON sales TO {reader}",
                    f"REVOKE INSERT, UPDATE, DELETE ON spend FROM {reader}",
                    "CREATE MATERIALIZED VIEW mine AS SELECT * FROM sales",
                    f"REVOKE ALL ON mine FROM {reader}",
                ):
                    connection.execute(statement)
            before = [granted(store, what, reader) for what in GIVEN]
            for _ in range(2):
                rebuild(store)

                assert [granted(store, what, reader) for what in GIVEN] == before
                assert rights(store, "mine", reader) == 0


def test_an_owner_who_grants_by_default_keeps_what_is_the_owners(
    postgres: str, postgres_url: str
) -> None:
    with role(postgres_url) as (owner, schema), role(postgres_url) as (reader, _):
        with psycopg.connect(postgres, autocommit=True) as connection:
            for statement in (
                f"ALTER ROLE {owner} LOGIN",
                f"CREATE SCHEMA {schema} AUTHORIZATION {owner}",
                (
                    f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} "
                    f"GRANT SELECT ON TABLES TO {reader}"
                ),
            ):
                connection.execute(statement.encode())
        url, projections = f"{postgres_url}&user={owner}", in_mode("inline", MENDED, SPEND)
        with SessionStore.open(url, projections=projections) as store:
            fill(store, "a", 1)
            with store.recorder.database.writing() as made:
                made.execute("CREATE MATERIALIZED VIEW mine AS SELECT * FROM sales")

            for number in range(2):
                assert rebuild(store).switched
                fill(store, f"{number} ", 1)

            assert granted(store, "sales", reader) == {"SELECT"}
            assert len(store.query("SELECT * FROM mine")) == 2
            assert verify(store) == []


GIVEN = ("sales", "sales.session_id", "sales.total", "claims", "spend", "sold_lines")


def rights(store: SessionStore, relation: str, name: str) -> int:
    """How many rights a role has on a relation of any kind."""
    sql = (
        "SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE relname = ? "
        "AND relnamespace = CAST(current_schema() AS regnamespace) "
        "AND pg_get_userbyid(grantee) = ?"
    )
    ((number,),) = store.query(sql, (relation, name))
    return int(number)


def test_relations_stay_their_owners_whoever_rebuilds_them(postgres_url: str) -> None:
    with (
        SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store,
        role(postgres_url) as (owner, schema),
    ):
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            connection.execute(f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner}")
            for name in ("sales", "sold_lines", "claims"):
                connection.execute(f"ALTER TABLE {name} OWNER TO {owner}")

        for _ in range(2):
            rebuild(store)

        sql = (
            "SELECT tablename FROM pg_tables WHERE tableowner = ? AND tablename NOT LIKE '%build%'"
        )
        assert {name for (name,) in store.query(sql, (owner,))} == {"sales", "sold_lines", "claims"}


def test_a_materialized_view_is_filled_as_its_owner_sees_it(postgres_url: str) -> None:
    with (
        SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store,
        role(postgres_url) as (owner, schema),
    ):
        fill(store, "a", 2)
        with store.recorder.database.writing() as connection:
            for statement in (
                f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner}",
                f"GRANT SELECT ON sales TO {owner}",
                "ALTER TABLE sales ENABLE ROW LEVEL SECURITY",
                f"CREATE POLICY mine ON sales TO {owner} USING (session_id = 'a1')",
                (
                    "CREATE MATERIALIZED VIEW seen AS SELECT session_id, current_user AS by "
                    "FROM sales WITH NO DATA"
                ),
                f"ALTER MATERIALIZED VIEW seen OWNER TO {owner}",
                "REFRESH MATERIALIZED VIEW seen",
            ):
                connection.execute(statement)
        assert store.query("SELECT * FROM seen") == [("a1", owner)]

        for _ in range(2):
            assert rebuild(store).switched

            assert store.query("SELECT * FROM seen") == [("a1", owner)]


def test_what_the_rebuilder_was_given_by_another_owner_it_has_again(postgres_url: str) -> None:
    with (
        SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store,
        role(postgres_url) as (owner, schema),
    ):
        with store.recorder.database.writing() as connection:
            connection.execute(f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner}")
            connection.execute(f"ALTER TABLE sales OWNER TO {owner}")
            connection.execute("GRANT SELECT ON sales TO CURRENT_USER")
        ((me,),) = store.query("SELECT current_user")

        rebuild(store)

        assert rights(store, "sales", me) == 1


def test_an_owner_who_may_make_nothing_is_named_before_anything_is_built(postgres_url: str) -> None:
    projections = in_mode("inline", MENDED, SPEND)
    with (
        SessionStore.open(postgres_url, projections=projections) as store,
        role(postgres_url) as (owner, schema),
        role(postgres_url) as (other, _),
    ):
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            connection.execute(f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {other}")
            connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {other}")
            connection.execute(f"GRANT CREATE ON SCHEMA {schema} TO {owner}")
            connection.execute(f"ALTER TABLE spend OWNER TO {owner}")
            connection.execute(f"REVOKE CREATE ON SCHEMA {schema} FROM {owner}")
            connection.execute(f"GRANT {owner} TO {other}")
            connection.execute(f"ALTER ROLE {other} LOGIN")
        with (
            SessionStore.open(f"{postgres_url}&user={other}", projections=projections) as others,
            pytest.raises(StorageFailed, match=f"{owner}, .* must be granted CREATE"),
        ):
            rebuild(others, names=["spend"])
        assert {each.status for each in status(store)} == {"current"}


def test_who_is_not_the_owner_is_told_so_before_anything_is_built(postgres_url: str) -> None:
    projections = in_mode("inline", MENDED, SPEND)
    with (
        SessionStore.open(postgres_url, projections=projections) as store,
        role(postgres_url) as (other, schema),
    ):
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            connection.execute(f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {other}")
            connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {other}")
            connection.execute(f"ALTER TABLE spend OWNER TO {other}")
            connection.execute(f"ALTER ROLE {other} LOGIN")
        told: list[object] = []
        with (
            SessionStore.open(f"{postgres_url}&user={other}", projections=projections) as others,
            pytest.raises(StorageFailed, match="must be owner of table sales, which belongs to "),
        ):
            rebuild(others, lambda *done: told.append(done), names=["sales", "spend"])

        assert told == []
        assert {each.status for each in status(store)} == {"current"}
        with SessionStore.open(f"{postgres_url}&user={other}", projections=projections) as others:
            assert rebuild(others, names=["spend"]).switched


# --- what is made while a switch waits


@pytest.mark.parametrize(
    ("made", "shows"),
    [
        ("CREATE VIEW own AS SELECT count(*) FROM sales", "SELECT * FROM own"),
        (
            "CREATE POLICY looks ON mine USING ((SELECT count(*) FROM sales) > 1)",
            (
                "SELECT CASE WHEN qual LIKE '%build%' THEN 0 ELSE 2 END FROM pg_policies "
                "WHERE policyname = 'looks' AND schemaname = current_schema()"
            ),
        ),
        (
            "COMMENT ON TABLE sales IS '2'",
            "SELECT CAST(obj_description(CAST('sales' AS regclass)) AS integer)",
        ),
        (
            "GRANT SELECT, UPDATE ON sales TO pg_monitor",
            (
                "SELECT count(*) FROM pg_class, aclexplode(relacl) "
                "WHERE oid = CAST('sales' AS regclass) "
                "AND pg_get_userbyid(grantee) = 'pg_monitor'"
            ),
        ),
        (
            "GRANT SELECT (total), UPDATE (total) ON sales TO pg_monitor",
            (
                "SELECT count(*) FROM pg_attribute, aclexplode(attacl) "
                "WHERE attrelid = CAST('sales' AS regclass)"
            ),
        ),
        (
            "ALTER TABLE sales ENABLE ROW LEVEL SECURITY",
            (
                "SELECT 2 * CAST(relrowsecurity AS integer) FROM pg_class "
                "WHERE oid = CAST('sales' AS regclass)"
            ),
        ),
        (
            "ALTER TABLE sales FORCE ROW LEVEL SECURITY",
            (
                "SELECT 2 * CAST(relforcerowsecurity AS integer) FROM pg_class "
                "WHERE oid = CAST('sales' AS regclass)"
            ),
        ),
        (
            "CREATE POLICY own ON sales USING (TRUE)",
            "SELECT 2 * count(*) FROM pg_policy WHERE polrelid = CAST('sales' AS regclass)",
        ),
    ],
    ids=lambda made: made.partition(" ON ")[0][:16],
)
def test_what_is_made_as_a_switch_begins_goes_on_too(
    postgres: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch, made: str, shows: str
) -> None:
    with SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store:
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            connection.execute("CREATE TABLE mine ()")
        made_before_the_rename(store, postgres, postgres_url, monkeypatch, made)

        assert rebuild(store).switched

        fill(store, "b", 1)
        assert store.query(shows) == [(2,)]
        assert rebuild(store).switched
        assert store.query(shows) == [(2,)]
        assert drop(store, "sales")


@pytest.mark.parametrize(
    ("made", "shows"),
    [
        (
            "FUNCTION mine() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM sales; END",
            "SELECT mine()",
        ),
        ("FUNCTION mine(sales) RETURNS int LANGUAGE sql AS 'SELECT 1'", "SELECT mine(NULL)"),
        ("FUNCTION mine(sales[]) RETURNS int LANGUAGE sql AS 'SELECT 1'", "SELECT mine(NULL)"),
    ],
    ids=lambda made: made.partition(" RETURNS ")[0],
)
def test_what_is_made_as_a_switch_begins_and_cannot_go_on_is_named(
    postgres: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch, made: str, shows: str
) -> None:
    with SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store:
        fill(store, "a", 1)
        made_before_the_rename(store, postgres, postgres_url, monkeypatch, f"CREATE {made}")

        with pytest.raises(DependentObject, match=r"function mine\((sales|sales\[\])?\)"):
            rebuild(store)

        assert store.query(shows) == [(1,)]


def test_who_gives_a_relation_away_as_a_switch_begins_keeps_nothing_of_it(
    postgres: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_away = "ALTER TABLE sales OWNER TO pg_signal_backend"
    with SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store:
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            connection.execute("ALTER TABLE sales OWNER TO pg_monitor")
        made_before_the_rename(store, postgres, postgres_url, monkeypatch, given_away)

        assert rebuild(store).switched

        sql = "SELECT tableowner FROM pg_tables WHERE tablename = 'sales' AND schemaname = ?"
        schema = postgres_url.rpartition("schema=")[2]
        assert store.query(sql, [schema]) == [("pg_signal_backend",)]
        assert rights(store, "sales", "pg_monitor") == 0


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
def test_a_view_that_is_dropped_as_a_switch_begins_is_none(
    postgres: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    found = dependents._dependents
    schema = postgres_url.rpartition("schema=")[2]

    def dropped(*given: Any) -> Any:
        monkeypatch.setattr(dependents, "_dependents", found)
        listed = found(*given)
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(SQL("DROP {} {}.own").format(SQL(kind), Identifier(schema)))
        return listed

    with SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store:
        fill(store, "a", 1)
        with store.recorder.database.writing() as connection:
            connection.execute(f"CREATE {kind} own AS SELECT * FROM sales")
        monkeypatch.setattr(dependents, "_dependents", dropped)

        assert rebuild(store, names=["sales"]).switched


def made_before_the_rename(
    store: SessionStore, server: str, url: str, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    """Let somebody make something when a switch has looked for what there is."""
    database = store.recorder.database
    rename, schema = database.rename, url.rpartition("schema=")[2]

    def renamed(connection: Any, table: str, to: str) -> None:
        if table == "sales":  # what there is of another relation may have been looked for before
            monkeypatch.setattr(database, "rename", rename)
            with psycopg.connect(server, autocommit=True) as theirs:
                theirs.execute(SQL("SET search_path = {}").format(Identifier(schema)))
                theirs.execute(made.encode())
        rename(connection, table, to)

    monkeypatch.setattr(database, "rename", renamed)


# --- what is dropped


def test_what_depends_on_a_build_that_is_dropped_is_named(postgres_url: str) -> None:
    with SessionStore.open(postgres_url, projections=in_mode("inline", MENDED, SPEND)) as store:
        rebuild(store)
        number = next(e.build for e in status(store) if (e.name, e.status) == ("sales", "old"))
        with store.recorder.database.writing() as connection:
            connection.execute(f"CREATE VIEW own AS SELECT * FROM sales_build_{number}")

        with pytest.raises(DependentObject, match=f"view own .* depends on .*sales_build_{number}"):
            drop(store, "sales")

        assert store.query("SELECT count(*) FROM own") == [(0,)]


# --- what is published


def test_a_publication_of_the_whole_schema_refuses_nothing(postgres_url: str) -> None:
    schema = postgres_url.rpartition("schema=")[2]
    with SessionStore.open(postgres_url, projections=in_mode("inline", SALES, SPEND)) as store:
        with store.recorder.database.writing() as connection:
            connection.execute(f"CREATE PUBLICATION {schema} FOR TABLES IN SCHEMA {schema}")
        fill(store, "a", 2)
        store.execute_many("bad", [OpenSession(), add(BAD)], idempotency_key="k")

        for mode in ("followed", "inline"):
            assert rebuild(store, names=["sales", "spend"], mode=mode).switched
            fill(store, f"{mode} ", 1)
            Runner(store).run(until=store.position)
        assert rebuild(store).switched

        assert [each.key for each in StoredProjection(store, SALES).parked()] == ["bad"]
        with pytest.raises(SessionExists):
            store.execute("a0", OpenSession())
        assert verify(store) == []
