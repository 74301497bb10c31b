"""Every Prometheus series of the gateway, and the closed set of values that each label may take.

Rules: a label holds a migration's name from the configuration, a model's id from the catalogue or a member of
a set written down here, in `core` or in `compat`; whatever else comes in is counted as `other` (see
`series`). Everything is booked to the assigned arm; `served` says who answered. Methods are named after what
happened.
"""

from gateway.metrics.process import Metrics
from gateway.metrics.requests import ITEMS, RULES
from gateway.metrics.rollout import COMPARED, GATES, REASONS, STORE_OPERATIONS

__all__ = ["COMPARED", "GATES", "ITEMS", "REASONS", "RULES", "STORE_OPERATIONS", "Metrics"]
