# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the controller can reach the fleet at all. Pure."""

from __future__ import annotations

from ..._health.probe import NO_CONNECTION
from ..._providers.contract import UP
from ..observed import Observed


def unreachable(observed: Observed) -> str:
    """Why no swap can be watched from here, or "".

    The load balancer reaches the instances in service. If no connection from here reaches any of them, none would reach
    a new one either, and the swap would blame the image.
    """
    served = [view for view in observed.instances if view.member == UP and view.proven]
    if not served or not all(view.problem.startswith(NO_CONNECTION) for view in served):
        return ""
    view = served[0]
    address = f" at {view.address[0]}:{view.address[1]}" if view.address else ""
    return (
        f"the load balancer has {len(served)} instances in service, but this machine reaches none of them "
        f"({view.id}{address}: {view.problem}); nothing was changed (needed: a network path from the controller to the "
        "instances, or on aws probe: balancer)"
    )
