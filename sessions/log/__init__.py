"""The log: its rows, the events in them, and who follows it."""
