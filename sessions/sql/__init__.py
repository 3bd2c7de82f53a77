"""What the store asks of a database, and the relations, once for all of them."""
