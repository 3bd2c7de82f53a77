"""The read side of customer sessions: views, which are folds of what happened."""

from projections.attachments import Attachment
from projections.copying import Copied, copy
from projections.customer_session import CartItem, CustomerSession
from projections.customer_sessions import CustomerSessions
from projections.rebuild import rebuild
from projections.timeline import Change, Step
from projections.verify import Difference, verify

__all__ = [
    "Attachment",
    "CartItem",
    "Change",
    "Copied",
    "CustomerSession",
    "CustomerSessions",
    "Difference",
    "Step",
    "copy",
    "rebuild",
    "verify",
]
