"""Building projections beside those that are there, and switching to them."""
