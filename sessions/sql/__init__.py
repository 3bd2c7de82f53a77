"""What the store asks of a database, and its relations, written once for all databases."""
