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
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from sessions.errors import DependentObject, DependentPolicy, DependentView
from sessions.postgres.failures import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from sessions.connection import Connection

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

_OTHERS_POLICIES = f"""
SELECT DISTINCT relation.relname, polname, format('ALTER POLICY %I ON %s%s%s',
    polname, polrelid::regclass, ' USING (' || pg_get_expr(polqual, polrelid) || ')',
    ' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')')
FROM pg_depend AS link
JOIN pg_policy ON link.classid = 'pg_policy'::regclass AND link.objid = pg_policy.oid
JOIN pg_class AS relation ON relation.oid = polrelid
JOIN pg_class AS used ON link.refclassid = 'pg_class'::regclass AND link.refobjid = used.oid
WHERE used.relnamespace = {_HERE} AND used.relname = ANY(?)
    AND NOT (relation.relnamespace = {_HERE} AND relation.relname = ANY(?))
"""
"""The policies of other relations that look into these, and what lets them look by the names."""

_OTHERS = f"""
SELECT pg_describe_object(link.classid, link.objid, link.objsubid), used.relname
FROM pg_depend AS link
JOIN pg_class AS used ON link.refclassid = 'pg_class'::regclass AND link.refobjid = used.oid
    OR link.refclassid = 'pg_type'::regclass AND link.refobjid IN (
        SELECT unnest(ARRAY[oid, typarray]) FROM pg_type WHERE oid = used.reltype)
LEFT JOIN pg_class AS holder ON link.classid = 'pg_class'::regclass AND link.objid = holder.oid
WHERE used.relnamespace = {_HERE} AND used.relname = ANY(?) AND link.deptype = 'n'
    AND link.classid NOT IN ('pg_rewrite'::regclass, 'pg_policy'::regclass)
    AND holder.relkind IS DISTINCT FROM 'm'
LIMIT 1
"""
"""What would hold the relation that it was made of, and nobody can make again from here."""

_DEPENDENTS = f"""
SELECT DISTINCT quote_ident(space.nspname) || '.' || quote_ident(view.relname), view.oid
FROM pg_depend AS link
JOIN pg_rewrite AS rule ON link.classid = 'pg_rewrite'::regclass AND link.objid = rule.oid
JOIN pg_class AS view ON view.oid = rule.ev_class
JOIN pg_namespace AS space ON space.oid = view.relnamespace
JOIN pg_class AS used ON link.refclassid = 'pg_class'::regclass AND link.refobjid = used.oid
WHERE used.relnamespace = {_HERE} AND used.relname = ANY(?)
    AND view.oid <> used.oid
ORDER BY 1
"""

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
    made: tuple[str, ...]


@contextmanager
def handing_on(connection: Connection, tables: Sequence[str]) -> Iterator[None]:
    """Let what people gave and made be that of the relations that have these names at the end.

    Raises:
        DependentView: A view cannot be made again: of a relation that has its name no longer, too.
        DependentPolicy: A policy cannot.
        DependentObject: Something else is of the relation itself, whatever that is called.
    """
    names = list(tables)
    for what, relation in connection.execute(_OTHERS, (names,)).fetchall():
        raise DependentObject(what=what, relation=relation)
    given = connection.execute(_GIVEN, (names,) * 3).fetchall()
    security = connection.execute(_SECURITY, (names, names)).fetchall()
    looking = connection.execute(_OTHERS_POLICIES, (names, names)).fetchall()
    views = [_taken(connection, *row) for row in _dependents(connection, tables)]
    yield
    columns = connection.execute(_COLUMNS, (names,)).fetchall()
    there = {table for table, _ in columns}
    _give(connection, {*columns, *[(table, None) for table in there]}, given)
    _secure(connection, [*[each for each in security if each[0] in there], *looking])
    for kind in (_PLAIN, _MATERIALIZED):  # which may be filled from one that is plain
        for view in views:
            for statement in view.made if view.kind == kind else ():
                _try(connection, view.name, statement)


def _give(
    connection: Connection,
    there: AbstractSet[tuple[str, str | None]],
    given: Iterable[tuple[str, str | None, str]],
) -> None:
    """Grant and say again what was of relations and columns, of those that are still there."""
    for table, column, statement in given:
        if (table, column) in there:
            connection.execute(statement)


def _secure(connection: Connection, security: Iterable[tuple[str, str, str]]) -> None:
    """Let nobody see more than before."""
    for table, policy, statement in security:
        try:
            connection.execute(statement)
        except _REFUSALS as error:
            reason = reason_of(error)
            raise DependentPolicy(policy=policy, relation=table, reason=reason) from error


def _dependents(connection: Connection, tables: Sequence[str]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = connection.execute(_DEPENDENTS, (list(tables),)).fetchall()
    return found


def _taken(connection: Connection, name: str, oid: int) -> _View:
    """A view, locked before the relations below it are: in the order in which readers lock.

    LOCK TABLE would lock these with the first of several views; to give it to its owner does not.
    """
    ((kind, options, asked, is_filled, owner),) = connection.execute(_DEFINITION, (oid,)).fetchall()
    if kind == _PLAIN:
        _try(connection, name, f"ALTER VIEW {name} OWNER TO {owner}")
        return _View(name, kind, (f"CREATE OR REPLACE VIEW {name}{options} AS {asked}",))
    if kind != _MATERIALIZED:
        raise DependentView(view=name, reason="it is a relation with a rule of its own")
    beside = [made for _, made in connection.execute(_BESIDE, (oid,) * 6).fetchall()]
    _try(connection, name, f"DROP MATERIALIZED VIEW {name}")
    data = "DATA" if is_filled else "NO DATA"
    made = f"CREATE MATERIALIZED VIEW {name}{options} AS {asked} WITH {data}"
    return _View(name, kind, (made, *beside))


def _try(connection: Connection, view: str, statement: str) -> None:
    try:
        connection.execute(statement)
    except _REFUSALS as error:
        raise DependentView(view=view, reason=reason_of(error)) from error
