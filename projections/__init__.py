"""The read side of customer sessions: views, each of them a fold of events."""

from projections.attachments import Attachment
from projections.comparing import Compared
from projections.copying.copy import Copied, copy
from projections.customer_histories import CustomerHistories
from projections.customer_history import CustomerHistory, Move, SessionHistory, Stay
from projections.customer_session import CartItem, CustomerSession
from projections.customer_sessions import CustomerSessions
from projections.figures import Figures
from projections.folding import Progress
from projections.history_replay import HistoryStep
from projections.rebuilding.building import Rebuilt
from projections.rebuilding.rebuild import drop, rebuild
from projections.running.runner import Runner
from projections.status import ProjectionStatus, parked, status
from projections.stored import StoredProjection
from projections.timeline import Change, Step
from projections.verifying.difference import Difference
from projections.verifying.verify import verify
from sessions.sql.tables import Column, Table
from sessions.views.installed import installed
from sessions.views.parked import Parked
from sessions.views.projection import Projection
from sessions.views.storage import Rows, Storage

__all__ = [
    "Attachment",
    "CartItem",
    "Change",
    "Column",
    "Compared",
    "Copied",
    "CustomerHistories",
    "CustomerHistory",
    "CustomerSession",
    "CustomerSessions",
    "Difference",
    "Figures",
    "HistoryStep",
    "Move",
    "Parked",
    "Progress",
    "Projection",
    "ProjectionStatus",
    "Rebuilt",
    "Rows",
    "Runner",
    "SessionHistory",
    "Stay",
    "Step",
    "Storage",
    "StoredProjection",
    "Table",
    "copy",
    "drop",
    "installed",
    "parked",
    "rebuild",
    "status",
    "verify",
]
