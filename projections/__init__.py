"""The read side of customer sessions: views, which are folds of what happened."""

from projections.attachments import Attachment
from projections.copying import Copied, copy
from projections.customer_histories import CustomerHistories
from projections.customer_history import CustomerHistory, Move, SessionHistory, Stay
from projections.customer_session import CartItem, CustomerSession
from projections.customer_sessions import CustomerSessions
from projections.figures import Figures
from projections.history_replay import HistoryStep
from projections.rebuild import rebuild
from projections.timeline import Change, Step
from projections.verify import Difference, verify

__all__ = [
    "Attachment",
    "CartItem",
    "Change",
    "Copied",
    "CustomerHistories",
    "CustomerHistory",
    "CustomerSession",
    "CustomerSessions",
    "Difference",
    "Figures",
    "HistoryStep",
    "Move",
    "SessionHistory",
    "Stay",
    "Step",
    "copy",
    "rebuild",
    "verify",
]
