"""Building projections beside the existing ones, and switching to them."""
