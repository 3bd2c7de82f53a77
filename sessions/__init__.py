"""The write side of customer sessions: commands in, facts kept.

Everything that a caller needs is here: `SessionStore`, the commands, the events, and the errors.
The views are in `projections`.
"""

from sessions.answers import Executed as Executed
from sessions.commands import *  # noqa: F403
from sessions.errors import *  # noqa: F403
from sessions.events import *  # noqa: F403
from sessions.store import SessionStore as SessionStore
