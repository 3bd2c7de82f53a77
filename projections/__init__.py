"""The read side of customer sessions: views, which are folds of what happened."""

from projections.customer_history import Attachment as Attachment
from projections.customer_session import CartItem as CartItem
from projections.customer_session import CustomerSession as CustomerSession
from projections.customer_sessions import CustomerSessions as CustomerSessions
from projections.rebuild import rebuild as rebuild
from projections.timeline import Change as Change
from projections.timeline import Step as Step
from projections.verify import Difference as Difference
from projections.verify import verify as verify
