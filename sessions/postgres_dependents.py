"""What depends on a relation in PostgreSQL by more than its name: grants, and people's own views.

A view holds the relation that it was made of, whatever that is called later. Where another
relation takes the name, the view is made again, of that one.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from sessions.errors import DependentView
from sessions.postgres_statements import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sessions.database import Connection

_GRANTS = """
SELECT quote_ident(table_name),
    CASE grantee WHEN 'PUBLIC' THEN 'PUBLIC' ELSE quote_ident(grantee) END, privilege_type
FROM information_schema.role_table_grants
WHERE table_schema = current_schema() AND table_name = ANY(?) AND grantee <> current_user
"""

_DEPENDENTS = """
SELECT DISTINCT quote_ident(space.nspname) || '.' || quote_ident(view.relname), view.oid
FROM pg_depend AS link
JOIN pg_rewrite AS rule ON link.classid = 'pg_rewrite'::regclass AND link.objid = rule.oid
JOIN pg_class AS view ON view.oid = rule.ev_class
JOIN pg_namespace AS space ON space.oid = view.relnamespace
JOIN pg_class AS used ON link.refclassid = 'pg_class'::regclass AND link.refobjid = used.oid
WHERE used.relnamespace = current_schema()::regnamespace AND used.relname = ANY(?)
    AND view.oid <> used.oid
ORDER BY 1
"""

_DEFINITION = """
SELECT relkind, coalesce(' WITH (' || array_to_string(reloptions, ', ') || ')', ''),
    pg_get_viewdef(oid)
FROM pg_class WHERE oid = CAST(? AS oid)
"""

_PLAIN_VIEW = "v"


class _View(NamedTuple):
    name: str
    made: str


@contextmanager
def handing_on(connection: Connection, tables: Sequence[str]) -> Iterator[None]:
    """Let grants and views be those of the relations that have these names at the end.

    Raises:
        DependentView: A view cannot be made again.
    """
    grants = connection.execute(_GRANTS, (list(tables),)).fetchall()
    views = [_locked(connection, *row) for row in _dependents(connection, tables)]
    yield
    for table, role, privilege in grants:
        connection.execute(f"GRANT {privilege} ON {table} TO {role}")
    for view in views:
        _try(connection, view.name, view.made)


def _dependents(connection: Connection, tables: Sequence[str]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = connection.execute(_DEPENDENTS, (list(tables),)).fetchall()
    return found


def _locked(connection: Connection, name: str, oid: int) -> _View:
    """A view, locked before the relations below it are: in the order in which readers lock."""
    ((kind, options, definition),) = connection.execute(_DEFINITION, (oid,)).fetchall()
    if kind != _PLAIN_VIEW:
        raise DependentView(view=name, reason="it is not a plain view")
    _try(connection, name, f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
    return _View(name, f"CREATE OR REPLACE VIEW {name}{options} AS {definition}")


def _try(connection: Connection, view: str, statement: str) -> None:
    try:
        connection.execute(statement)
    except (psycopg.ProgrammingError, psycopg.NotSupportedError) as error:
        raise DependentView(view=view, reason=reason_of(error)) from error
