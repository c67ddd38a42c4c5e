# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which instances of a group have not proven yet that they sealed themselves. Pure.

Auto Scaling judges only whether an instance responds. The evidence shows whether it is what was launched. The nonce is
that of the launch template version, which all its instances share.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..._providers.group import DesiredLaunch
from .decide import Unsealed
from .result import GroupInstance, seal_of


def unsealed(instances: Sequence[GroupInstance], wanted: DesiredLaunch, since: float) -> tuple[Unsealed, ...]:
    """Return the instances of the wanted version that have not proven it.

    Args:
        since: from when an instance counts that EC2 does not list yet.
    """
    return tuple(
        Unsealed(instance.member.id, reason, instance.machine.launched if instance.machine else since)
        for instance in instances
        if instance.member.template == wanted.template and not instance.member.leaving
        if not instance.member.state.startswith("Warmed")  # it serves only after it has booted again
        if (reason := _reason(instance, wanted))
    )


def overdue(waiting: Sequence[Unsealed], at: float, deadline: float) -> str:
    """Return why the swap must not continue, or "".

    Args:
        deadline: seconds from the launch to the evidence.
    """
    for each in waiting:
        if at - each.launched > deadline:
            return f"{each.id} did not seal itself within {deadline:g} s: {each.reason}"
    return ""


def _reason(instance: GroupInstance, wanted: DesiredLaunch) -> str:
    machine, evidence = instance.machine, instance.machine.evidence if instance.machine else None
    if machine is None:
        return "EC2 does not list it yet"
    seal = seal_of(instance)
    if isinstance(seal, str):
        return seal
    if evidence and evidence.nonce != wanted.request.nonce:
        return "it sealed itself with the nonce of another launch template version"
    return "" if seal else "it is not running, or has lost its tags"
