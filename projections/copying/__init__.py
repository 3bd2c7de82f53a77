"""Copying a store to another database."""
