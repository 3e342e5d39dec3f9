"""Rules to a decision: which models a request may go to, in which order, and by which rule.

Pure: no clock, no disk, no machine. It names candidates; it does not know which may run just now.
"""

from modelrouter.policy.conditions import Situation, holds
from modelrouter.policy.policy import Policy

__all__ = ["Policy", "Situation", "holds"]
