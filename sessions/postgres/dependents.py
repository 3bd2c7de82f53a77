"""What people gave to a relation in PostgreSQL, and the views that they made of it.

Grants, comments, and row-level security with its policies are of the relation, whatever that is
called later. The one that takes its name is given the same.

A view holds the relation that it was made of, whatever that is called later. Where another
relation takes the name, the view is made again, of that one; so it is with a policy of another
relation. A materialized view cannot be replaced: it is dropped and made again, filled if it was,
with its indexes, owner and grants. What else holds a relation is named, and nothing is switched.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from sessions.errors import DependentObject, DependentPolicy, DependentView
from sessions.postgres.failures import reason_of
from sessions.sql.database import StillRead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from sessions.postgres.connection import PostgresConnection

_HERE = "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
_ME = "(SELECT oid FROM pg_roles WHERE rolname = current_user)"
"""Found by their names: a cast would read these as SQL, without capitals and quotes."""

_TO = """
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
    || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
"""
"""Whom something is granted to."""

_GIVEN = f"""
SELECT relname, NULL, format('GRANT %s ON %I TO %s', privilege_type, relname, {_TO})
FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner)))
WHERE relnamespace = {_HERE} AND relname = ANY(?)
    AND grantee <> {_ME}
UNION ALL
SELECT relname, attname,
    format('GRANT %s (%I) ON %I TO %s', privilege_type, attname, relname, {_TO})
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid, aclexplode(attacl)
WHERE relnamespace = {_HERE} AND relname = ANY(?)
UNION ALL
SELECT relname, attname, CASE objsubid
    WHEN 0 THEN format('COMMENT ON TABLE %I IS %L', relname, description)
    ELSE format('COMMENT ON COLUMN %I.%I IS %L', relname, attname, description) END
FROM pg_class AS class
JOIN pg_description ON objoid = class.oid AND classoid = 'pg_class'::regclass
LEFT JOIN pg_attribute ON attrelid = class.oid AND attnum = objsubid
WHERE relnamespace = {_HERE} AND relname = ANY(?)
"""
"""The relation, the column if it is of one, and the statement that gives it once more."""

_COLUMNS = f"""
SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relnamespace = {_HERE} AND relname = ANY(?)
"""

_SECURITY = f"""
SELECT tablename, policyname, format('CREATE POLICY %I ON %I AS %s FOR %s TO %s%s%s',
    policyname, tablename, permissive, cmd,
    (SELECT string_agg(CASE role WHEN 'public' THEN 'PUBLIC' ELSE quote_ident(role) END, ', ')
    FROM unnest(roles) AS role),
    ' USING (' || qual || ')', ' WITH CHECK (' || with_check || ')')
FROM pg_policies WHERE schemaname = current_schema() AND tablename = ANY(?)
UNION ALL
SELECT relname, '', format('ALTER TABLE %I %s ROW LEVEL SECURITY', relname, how)
FROM pg_class JOIN (VALUES ('ENABLE'), ('FORCE')) AS ways (how)
    ON CASE how WHEN 'ENABLE' THEN relrowsecurity ELSE relforcerowsecurity END
WHERE relnamespace = {_HERE} AND relname = ANY(?)
"""

_OF = f"""(
    SELECT relname AS used, 'pg_class'::regclass AS of, oid FROM pg_class
    WHERE relnamespace = {_HERE} AND relname = ANY(?)
    UNION ALL
    SELECT relname, 'pg_type'::regclass, unnest(ARRAY[type.oid, typarray])
    FROM pg_class JOIN pg_type AS type ON type.oid = reltype
    WHERE relnamespace = {_HERE} AND relname = ANY(?)
)"""
"""Relations, the types of their rows, and of arrays of these: whatever can be depended on."""

_LINKED = f"pg_depend AS link JOIN {_OF} AS its ON refclassid = its.of AND refobjid = its.oid"

_OTHERS_POLICIES = f"""
SELECT DISTINCT relation.relname, polname, format('ALTER POLICY %I ON %s%s%s',
    polname, polrelid::regclass, ' USING (' || pg_get_expr(polqual, polrelid) || ')',
    ' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')')
FROM {_LINKED}
JOIN pg_policy ON link.classid = 'pg_policy'::regclass AND link.objid = pg_policy.oid
JOIN pg_class AS relation ON relation.oid = polrelid
WHERE NOT (relation.relnamespace = {_HERE} AND relation.relname = ANY(?))
"""
"""The policies of other relations that look into these, and what lets them look by the names."""

_OTHERS = f"""
SELECT pg_describe_object(link.classid, link.objid, link.objsubid), used
FROM {_LINKED}
LEFT JOIN pg_class AS holder ON link.classid = 'pg_class'::regclass AND link.objid = holder.oid
LEFT JOIN pg_rewrite AS rule ON link.classid = 'pg_rewrite'::regclass AND link.objid = rule.oid
WHERE link.deptype = 'n' AND link.classid <> 'pg_policy'::regclass
    AND holder.relkind IS DISTINCT FROM 'm'
    AND (rule.oid IS NULL OR rulename <> '_RETURN')
LIMIT 1
"""
"""What would hold the relation that it was made of, and nobody can make again from here."""

_DEPENDENTS = f"""
SELECT DISTINCT quote_ident(space.nspname) || '.' || quote_ident(view.relname), view.oid
FROM {_LINKED}
JOIN pg_rewrite AS rule ON link.classid = 'pg_rewrite'::regclass AND link.objid = rule.oid
JOIN pg_class AS view ON view.oid = rule.ev_class
JOIN pg_namespace AS space ON space.oid = view.relnamespace
WHERE rulename = '_RETURN'
ORDER BY 1
"""

_HELD = f"""
SELECT relname, pg_class.oid, reltype, typarray
FROM pg_class JOIN pg_type AS type ON type.oid = reltype
WHERE relnamespace = {_HERE} AND relname = ANY(?)
"""

_GIVEN_NOW = """
SELECT oid, 0, concat_ws(' ', relacl, relrowsecurity, relforcerowsecurity, relowner)
FROM pg_class WHERE oid = ANY(CAST(? AS oid[]))
UNION ALL SELECT attrelid, attnum, attacl::text
FROM pg_attribute WHERE attrelid = ANY(CAST(? AS oid[])) AND attacl IS NOT NULL
UNION ALL SELECT objoid, objsubid, description FROM pg_description
WHERE objoid = ANY(CAST(? AS oid[])) AND classoid = 'pg_class'::regclass
UNION ALL SELECT polrelid, 0, pg_policy::text
FROM pg_policy WHERE polrelid = ANY(CAST(? AS oid[]))
ORDER BY 1, 2, 3
"""
"""What was given to relations, whatever they are called."""

_LEFT = """
SELECT pg_describe_object(link.classid, link.objid, link.objsubid)
FROM pg_depend AS link
LEFT JOIN pg_policy ON link.classid = 'pg_policy'::regclass AND link.objid = pg_policy.oid
WHERE link.deptype = 'n' AND (polrelid IS NULL OR polrelid <> ALL(CAST(? AS oid[])))
    AND (link.refclassid = 'pg_class'::regclass AND link.refobjid = ANY(CAST(? AS oid[]))
    OR link.refclassid = 'pg_type'::regclass AND link.refobjid = ANY(CAST(? AS oid[])))
"""
"""What depends on relations, whatever they are called, or on the types of their rows."""

_OWNERS = f"""
SELECT format('ALTER TABLE %I OWNER TO %I', new.relname, pg_get_userbyid(old.relowner))
FROM unnest(CAST(? AS name[]), CAST(? AS oid[])) AS held (name, held_oid)
JOIN pg_class AS old ON old.oid = held_oid
JOIN pg_class AS new ON new.relname = name AND new.relnamespace = {_HERE}
WHERE new.relowner <> old.relowner
"""

_DEFAULTS = """
SELECT format('REVOKE ALL ON %s FROM %s', oid::regclass,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
FROM pg_class, aclexplode(relacl)
WHERE oid = ANY(CAST(? AS regclass[])) AND grantee <> relowner
"""
"""Takes back what default privileges give to what is new and takes the place of another."""

_DEFINITION = """
SELECT relkind, coalesce(' WITH (' || array_to_string(reloptions, ', ') || ')', ''),
    rtrim(pg_get_viewdef(oid), ';'), relispopulated, quote_ident(pg_get_userbyid(relowner))
FROM pg_class WHERE oid = CAST(? AS oid)
"""

_BESIDE = f"""
SELECT 1, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = CAST(? AS oid)
UNION ALL
SELECT 2, format('ALTER MATERIALIZED VIEW %s OWNER TO %I', oid::regclass, pg_get_userbyid(relowner))
FROM pg_class WHERE oid = CAST(? AS oid)
UNION ALL
SELECT 3, format('GRANT %s ON %s TO %s', privilege_type, oid::regclass, {_TO})
FROM pg_class, aclexplode(relacl) WHERE oid = CAST(? AS oid) AND grantee <> relowner
UNION ALL
SELECT 4, format('GRANT %s (%I) ON %s TO %s', privilege_type, attname, attrelid::regclass, {_TO})
FROM pg_attribute, aclexplode(attacl) WHERE attrelid = CAST(? AS oid)
UNION ALL
SELECT 5, CASE objsubid
    WHEN 0 THEN format('COMMENT ON MATERIALIZED VIEW %s IS %L', objoid::regclass, description)
    ELSE format('COMMENT ON COLUMN %s.%I IS %L', objoid::regclass, attname, description) END
FROM pg_description LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid
WHERE objoid = CAST(? AS oid) AND classoid = 'pg_class'::regclass
UNION ALL
SELECT 6, format('COMMENT ON INDEX %s IS %L', indexrelid::regclass, description)
FROM pg_index JOIN pg_description ON objoid = indexrelid AND classoid = 'pg_class'::regclass
WHERE indrelid = CAST(? AS oid)
ORDER BY 1
"""
"""The statements that make of a new materialized view what it was."""

_PLAIN, _MATERIALIZED = "v", "m"
_REFUSALS = (
    psycopg.ProgrammingError,
    psycopg.NotSupportedError,
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.DependentObjectsStillExist,
)


class _View(NamedTuple):
    name: str
    kind: str
    made: str
    beside: tuple[str, ...] = ()


class _Held(NamedTuple):
    """A relation, whatever it is called later, and the types of its rows and of arrays of these."""

    name: str
    oid: int
    row: int
    rows: int


@contextmanager
def handing_on(connection: PostgresConnection, tables: Sequence[str]) -> Iterator[None]:
    """Let what people gave and made be that of the relations that have these names at the end.

    Raises:
        DependentView: A view cannot be made again: of a relation that has its name no longer, too.
        DependentPolicy: A policy cannot.
        DependentObject: Something else is of the relation itself, whatever that is called.
        StillRead: Somebody gave or made something, and committed it before there was a lock.
    """
    names = list(tables)
    for what, relation in connection.execute(_OTHERS, (names, names)).fetchall():
        raise DependentObject(what=what, relation=relation)
    old = [_Held(*row) for row in connection.execute(_HELD, (names,)).fetchall()]
    before = _given_now(connection, old)
    given = connection.execute(_GIVEN, (names,) * 3).fetchall()
    security = connection.execute(_SECURITY, (names, names)).fetchall()
    looking = connection.execute(_OTHERS_POLICIES, (names,) * 3).fetchall()
    views = [_taken(connection, *row) for row in _dependents(connection, names)]
    yield
    if _given_now(connection, old) != before:
        raise StillRead
    columns = connection.execute(_COLUMNS, (names,)).fetchall()
    there = {table for table, _ in columns}
    _own(connection, old, there)
    _give(connection, {*columns, *[(table, None) for table in there]}, given)
    _secure(connection, [*[each for each in security if each[0] in there], *looking])
    for kind in (_PLAIN, _MATERIALIZED):  # which may be filled from one that is plain
        for view in views:
            if view.kind == kind:
                _make_again(connection, view)
    _check_nothing_is_left(connection, old)


def _given_now(connection: PostgresConnection, old: Sequence[_Held]) -> list[Any]:
    """What relations were given, to be compared."""
    return connection.execute(_GIVEN_NOW, ([each.oid for each in old],) * 4).fetchall()


def _check_nothing_is_left(connection: PostgresConnection, old: Sequence[_Held]) -> None:
    """Nothing was made of the relations of before since it was looked for; else it is again.

    Raises:
        StillRead: Something was.
    """
    oids = [each.oid for each in old]
    types = [each.row for each in old] + [each.rows for each in old]
    if connection.execute(_LEFT, (oids, oids, types)).fetchall():
        raise StillRead


def _own(connection: PostgresConnection, old: Sequence[_Held], there: AbstractSet[str]) -> None:
    """Let what takes a relation's place be its owner's, and nobody else's by default."""
    taking = [each for each in old if each.name in there]
    pairs = [each.name for each in taking], [each.oid for each in taking]
    for (statement,) in connection.execute(_OWNERS, pairs).fetchall():
        connection.execute(statement)
    new = [str(_Held(*row).oid) for row in connection.execute(_HELD, pairs[:1]).fetchall()]
    for (statement,) in connection.execute(_DEFAULTS, (new,)).fetchall():
        connection.execute(statement)


def _give(
    connection: PostgresConnection,
    there: AbstractSet[tuple[str, str | None]],
    given: Iterable[tuple[str, str | None, str]],
) -> None:
    """Grant and say again what was of relations and columns, of those that are still there."""
    for table, column, statement in given:
        if (table, column) in there:
            connection.execute(statement)


def _secure(connection: PostgresConnection, security: Iterable[tuple[str, str, str]]) -> None:
    """Let nobody see more than before."""
    for table, policy, statement in security:
        try:
            connection.execute_as_it_is(statement)
        except _REFUSALS as error:
            reason = reason_of(error)
            raise DependentPolicy(policy=policy, relation=table, reason=reason) from error


def _dependents(connection: PostgresConnection, tables: Sequence[str]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = connection.execute(_DEPENDENTS, (list(tables),) * 2).fetchall()
    return found


def _taken(connection: PostgresConnection, name: str, oid: int) -> _View:
    """A view, locked before the relations below it are: in the order in which readers lock.

    LOCK TABLE would lock these with the first of several views; to give it to its owner does not.
    """
    ((kind, options, asked, is_filled, owner),) = connection.execute(_DEFINITION, (oid,)).fetchall()
    if kind == _PLAIN:
        _try(connection, name, f"ALTER VIEW {name} OWNER TO {owner}")
        return _View(name, kind, f"CREATE OR REPLACE VIEW {name}{options} AS {asked}")
    if kind != _MATERIALIZED:
        raise DependentView(view=name, reason="it is a relation with a rule of its own")
    _try(connection, name, f"ALTER MATERIALIZED VIEW {name} OWNER TO {owner}")
    beside = [made for _, made in connection.execute(_BESIDE, (oid,) * 6).fetchall()]
    _try(connection, name, f"DROP MATERIALIZED VIEW {name}")
    data = "DATA" if is_filled else "NO DATA"
    made = f"CREATE MATERIALIZED VIEW {name}{options} AS {asked} WITH {data}"
    return _View(name, kind, made, tuple(beside))


def _make_again(connection: PostgresConnection, view: _View) -> None:
    _try(connection, view.name, view.made)
    if view.kind == _MATERIALIZED:
        for (statement,) in connection.execute(_DEFAULTS, ([view.name],)).fetchall():
            connection.execute(statement)
    for statement in view.beside:
        _try(connection, view.name, statement)


def _try(connection: PostgresConnection, view: str, statement: str) -> None:
    try:
        connection.execute_as_it_is(statement)
    except _REFUSALS as error:
        raise DependentView(view=view, reason=reason_of(error)) from error
