"""PostgreSQL, as the database of a store."""

from sessions.postgres.database import PostgresDatabase

__all__ = ["PostgresDatabase"]
