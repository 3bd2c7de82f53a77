"""Folding everything afresh, and comparing."""
