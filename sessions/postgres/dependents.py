"""What people built on a relation in PostgreSQL, and what else depends on it.

A view refers to the relation that it was built on, whatever that is called later. If another
relation takes the name, the view is made again, on that one; and so is a policy of another
relation. A materialized view cannot be replaced: it is dropped and made again, filled if it was,
with its indexes, owner and grants. If anything else refers to a relation, the error names it, and
nothing is switched.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from sessions.errors import DependentObject, DependentView
from sessions.postgres.failures import reason_of
from sessions.postgres.given import (
    HERE,
    REFUSALS,
    TO,
    Given,
    Held,
    held,
    secure,
    take_back_defaults,
)
from sessions.sql.database import StillRead

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sessions.postgres.connection import PostgresConnection

_OF = f"""(
    SELECT relname AS used, 'pg_class'::regclass AS of, oid FROM pg_class
    WHERE relnamespace = {HERE} AND relname = ANY(?)
    UNION ALL
    SELECT relname, 'pg_type'::regclass, unnest(ARRAY[type.oid, typarray])
    FROM pg_class JOIN pg_type AS type ON type.oid = reltype
    WHERE relnamespace = {HERE} AND relname = ANY(?)
)"""
"""Relations, the types of their rows, and of arrays of these: all that can be depended on."""

_LINKED = f"pg_depend AS link JOIN {_OF} AS its ON refclassid = its.of AND refobjid = its.oid"

_OTHERS_POLICIES = f"""
SELECT DISTINCT relation.relname, polname, format('ALTER POLICY %I ON %s%s%s',
    polname, polrelid::regclass, ' USING (' || pg_get_expr(polqual, polrelid) || ')',
    ' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')')
FROM {_LINKED}
JOIN pg_policy ON link.classid = 'pg_policy'::regclass AND link.objid = pg_policy.oid
JOIN pg_class AS relation ON relation.oid = polrelid
WHERE NOT (relation.relnamespace = {HERE} AND relation.relname = ANY(?))
"""
"""The policies of other relations that look into these, each with the statement that lets it look
into whatever has the names now."""

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
"""What would still refer to the old relation, and cannot be made again from here."""

_DEPENDENTS = f"""
SELECT DISTINCT quote_ident(space.nspname) || '.' || quote_ident(view.relname), view.oid
FROM {_LINKED}
JOIN pg_rewrite AS rule ON link.classid = 'pg_rewrite'::regclass AND link.objid = rule.oid
JOIN pg_class AS view ON view.oid = rule.ev_class
JOIN pg_namespace AS space ON space.oid = view.relnamespace
WHERE rulename = '_RETURN'
ORDER BY 1
"""

_LEFT = """
SELECT pg_describe_object(link.classid, link.objid, link.objsubid)
FROM pg_depend AS link
LEFT JOIN pg_policy ON link.classid = 'pg_policy'::regclass AND link.objid = pg_policy.oid
WHERE link.deptype = 'n' AND (polrelid IS NULL OR polrelid <> ALL(CAST(? AS oid[])))
    AND (link.refclassid = 'pg_class'::regclass AND link.refobjid = ANY(CAST(? AS oid[]))
    OR link.refclassid = 'pg_type'::regclass AND link.refobjid = ANY(CAST(? AS oid[])))
"""
"""What depends on relations, whatever they are called, or on the types of their rows."""

_DEFINITION = """
SELECT relkind, coalesce(' WITH (' || array_to_string(reloptions, ', ') || ')', ''),
    rtrim(pg_get_viewdef(oid), ';'), relispopulated, quote_ident(pg_get_userbyid(relowner))
FROM pg_class WHERE oid = CAST(? AS oid)
"""

_BESIDE = f"""
SELECT 1, format('ALTER MATERIALIZED VIEW %s OWNER TO %I', oid::regclass, pg_get_userbyid(relowner))
FROM pg_class WHERE oid = CAST(? AS oid)
UNION ALL
SELECT 2, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = CAST(? AS oid)
UNION ALL
SELECT 3, format('GRANT %s ON %s TO %s', privilege_type, oid::regclass, {TO})
FROM pg_class, aclexplode(relacl) WHERE oid = CAST(? AS oid) AND grantee <> relowner
UNION ALL
SELECT 4, format('GRANT %s (%I) ON %s TO %s', privilege_type, attname, attrelid::regclass, {TO})
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
"""The statements that give a new materialized view what the old one had."""

_PLAIN, _MATERIALIZED = "v", "m"


class _View(NamedTuple):
    name: str
    kind: str
    made: str
    beside: tuple[str, ...] = ()


@contextmanager
def handing_on(connection: PostgresConnection, tables: Sequence[str]) -> Iterator[None]:
    """Hand what people granted and built to the relations that have these names at the end.

    Raises:
        DependentView: A view cannot be made again, perhaps because no relation has the name any
            more.
        DependentPolicy: A policy cannot be made again.
        DependentObject: Something else refers to the relation itself, whatever that is called.
        StillRead: Somebody granted or built something, and committed it before there was a lock.
    """
    names = list(tables)
    for what, relation in connection.execute(_OTHERS, (names, names)).fetchall():
        raise DependentObject(what=what, relation=relation)
    old = held(connection, names)
    given = Given(connection, old)
    looking = connection.execute(_OTHERS_POLICIES, (names,) * 3).fetchall()
    views = [_taken(connection, *row) for row in _dependents(connection, names)]
    yield
    given.hand_on()
    secure(connection, looking)
    for kind in (_PLAIN, _MATERIALIZED):  # it may be filled from a plain one
        for view in views:
            if view.kind == kind:
                _make_again(connection, view)
    _check_nothing_is_left(connection, old)


def _check_nothing_is_left(connection: PostgresConnection, old: Sequence[Held]) -> None:
    """Raise if anything was built on the old relations since they were examined.

    Raises:
        StillRead: Something was; the switch is tried again.
    """
    oids = [each.oid for each in old]
    types = [each.row for each in old] + [each.rows for each in old]
    if connection.execute(_LEFT, (oids, oids, types)).fetchall():
        raise StillRead


def _dependents(connection: PostgresConnection, tables: Sequence[str]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = connection.execute(_DEPENDENTS, (list(tables),) * 2).fetchall()
    return found


def _taken(connection: PostgresConnection, name: str, oid: int) -> _View:
    """A view, locked before the relations below it, in the order in which readers lock.

    LOCK TABLE would lock these with the first of several views; giving the view to its owner does
    not.
    """
    found = connection.execute(_DEFINITION, (oid,)).fetchall()
    if not found:  # somebody has dropped it meanwhile
        raise StillRead
    ((kind, options, asked, is_filled, owner),) = found
    if kind == _PLAIN:
        _try(connection, name, f"ALTER VIEW {name} OWNER TO {owner}")
        return _View(name, kind, f"CREATE OR REPLACE VIEW {name}{options} AS {asked}")
    if kind != _MATERIALIZED:
        raise DependentView(view=name, reason="it is a relation with a rule of its own")
    _try(connection, name, f"ALTER MATERIALIZED VIEW {name} OWNER TO {owner}")
    beside = [made for _, made in connection.execute(_BESIDE, (oid,) * 6).fetchall()]
    _try(connection, name, f"DROP MATERIALIZED VIEW {name}")
    filled = [f"REFRESH MATERIALIZED VIEW {name}"] if is_filled else []  # as its owner sees it
    made = f"CREATE MATERIALIZED VIEW {name}{options} AS {asked} WITH NO DATA"
    return _View(name, kind, made, (*beside, *filled))


def _make_again(connection: PostgresConnection, view: _View) -> None:
    _try(connection, view.name, view.made)
    if view.kind == _MATERIALIZED:
        take_back_defaults(connection, [view.name])
    for statement in view.beside:
        _try(connection, view.name, statement)


def _try(connection: PostgresConnection, view: str, statement: str) -> None:
    try:
        connection.execute_as_it_is(statement)
    except REFUSALS as error:
        raise DependentView(view=view, reason=reason_of(error)) from error
