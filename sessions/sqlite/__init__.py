"""SQLite, as the database of a store: in a file, or in memory."""

from sessions.sqlite.database import SqliteDatabase

__all__ = ["SqliteDatabase"]
