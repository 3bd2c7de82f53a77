"""The log: its rows, the events in them, and its followers."""
