"""What people gave to a relation in PostgreSQL, and what it is given by default.

Owners, grants, comments, and row-level security with its policies belong to the relation, whatever
that is called later. The relation that takes its name is given the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from sessions.errors import DependentPolicy
from sessions.postgres.failures import reason_of
from sessions.sql.database import StillRead

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sessions.postgres.connection import PostgresConnection

HERE = "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
_ME = "(SELECT oid FROM pg_roles WHERE rolname = current_user)"
"""Found by the name: a cast would read the name as SQL, without capitals and quotes."""

_GRANTEE = "CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END"
TO = f"{_GRANTEE} || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END"
"""To whom something is granted."""

_HELD = f"""
SELECT relname, pg_class.oid, reltype, typarray
FROM pg_class JOIN pg_type AS type ON type.oid = reltype
WHERE relnamespace = {HERE} AND relname = ANY(?)
"""

_GIVEN = f"""
SELECT relname, NULL, format('GRANT %s ON %I TO %s', privilege_type, relname, {TO})
FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner)))
WHERE relnamespace = {HERE} AND relname = ANY(?)
    AND (grantee <> {_ME} OR relowner <> {_ME})
UNION ALL
SELECT relname, attname,
    format('GRANT %s (%I) ON %I TO %s', privilege_type, attname, relname, {TO})
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid, aclexplode(attacl)
WHERE relnamespace = {HERE} AND relname = ANY(?)
UNION ALL
SELECT relname, attname, CASE objsubid
    WHEN 0 THEN format('COMMENT ON TABLE %I IS %L', relname, description)
    ELSE format('COMMENT ON COLUMN %I.%I IS %L', relname, attname, description) END
FROM pg_class AS class
JOIN pg_description ON objoid = class.oid AND classoid = 'pg_class'::regclass
LEFT JOIN pg_attribute ON attrelid = class.oid AND attnum = objsubid
WHERE relnamespace = {HERE} AND relname = ANY(?)
"""
"""The relation, the column if it is one's, and the statement that gives it again."""

_COLUMNS = f"""
SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relnamespace = {HERE} AND relname = ANY(?)
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
WHERE relnamespace = {HERE} AND relname = ANY(?)
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

_OWNERS = f"""
SELECT format('ALTER TABLE %I OWNER TO %I', new.relname, pg_get_userbyid(old.relowner))
FROM unnest(CAST(? AS name[]), CAST(? AS oid[])) AS held (name, held_oid)
JOIN pg_class AS old ON old.oid = held_oid
JOIN pg_class AS new ON new.relname = name AND new.relnamespace = {HERE}
WHERE new.relowner <> old.relowner
"""

_DEFAULTS = f"""
SELECT format('REVOKE ALL ON %s FROM %s', oid::regclass, {_GRANTEE})
FROM pg_class, aclexplode(relacl)
WHERE oid = ANY(CAST(? AS regclass[])) AND grantee <> relowner
"""
"""Revokes what default privileges grant on a new relation that takes the place of another."""

REFUSALS = (
    psycopg.ProgrammingError,
    psycopg.NotSupportedError,
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.DependentObjectsStillExist,
)
"""What is raised if something cannot be made for another relation."""


class Held(NamedTuple):
    """A relation, whatever it is called later, and the types of its rows and of arrays of these."""

    name: str
    oid: int
    row: int
    rows: int


def held(connection: PostgresConnection, names: Sequence[str]) -> list[Held]:
    """The relations that have these names now."""
    return [Held(*row) for row in connection.execute(_HELD, (list(names),)).fetchall()]


class Given:
    """What some relations were given, for those that will have their names."""

    def __init__(self, connection: PostgresConnection, old: Sequence[Held]) -> None:
        self._connection = connection
        self._old = old
        self._names = [each.name for each in old]
        self._before = self._now()
        self._given = connection.execute(_GIVEN, (self._names,) * 3).fetchall()
        self._security = connection.execute(_SECURITY, (self._names,) * 2).fetchall()

    def hand_on(self) -> None:
        """Give it to the relations that have the names by now, and nothing by default.

        Raises:
            DependentPolicy: A policy cannot be made.
            StillRead: Somebody gave something else, and committed it before there was a lock.
        """
        if self._now() != self._before:
            raise StillRead
        connection = self._connection
        new = held(connection, self._names)
        pairs = [each.name for each in self._old], [each.oid for each in self._old]
        for (statement,) in connection.execute(_OWNERS, pairs).fetchall():
            connection.execute(statement)
        take_back_defaults(connection, [str(each.oid) for each in new])
        there = {each.name for each in new}
        columns = set(connection.execute(_COLUMNS, (self._names,)).fetchall())
        for table, column, statement in self._given:
            if table in there and (column is None or (table, column) in columns):
                connection.execute(statement)
        secure(connection, [each for each in self._security if each[0] in there])

    def _now(self) -> list[Any]:
        """What they were given, to be compared."""
        oids = [each.oid for each in self._old]
        return self._connection.execute(_GIVEN_NOW, (oids,) * 4).fetchall()


def take_back_defaults(connection: PostgresConnection, relations: Sequence[str]) -> None:
    """Revoke everybody's rights to relations, given by name or OID, except the owner's."""
    for (statement,) in connection.execute(_DEFAULTS, (list(relations),)).fetchall():
        connection.execute(statement)


def secure(connection: PostgresConnection, security: Iterable[tuple[str, str, str]]) -> None:
    """Let nobody see more than before.

    Each row of `security` has a relation, a policy, and the statement that makes it.

    Raises:
        DependentPolicy: One cannot be made.
    """
    for table, policy, statement in security:
        try:
            connection.execute_as_it_is(statement)
        except REFUSALS as error:
            reason = reason_of(error)
            raise DependentPolicy(policy=policy, relation=table, reason=reason) from error
