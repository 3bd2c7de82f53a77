"""How commands become commits: what callers share, decide together, and hold in between."""
