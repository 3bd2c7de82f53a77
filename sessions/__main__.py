"""The command line, as `python -m sessions`."""

from sessions.cli import main

main()
