"""Folding everything afresh, and comparing it with what is stored."""
