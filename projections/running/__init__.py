"""Running followed projections, and waiting for them."""
