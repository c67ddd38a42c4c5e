# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether what a host said when it sealed itself proves that it is what was launched."""

from __future__ import annotations

from .._providers.contract import Instance


def proves(instance: Instance) -> bool | str:
    """True, or why not. Only evidence of its present boot counts; root in the guest could forge it, as the docs say."""
    evidence = instance.evidence
    if evidence is None:
        return "it has not sealed itself yet"
    if evidence.nonce != instance.nonce:
        return "it sealed itself with the nonce of another launch"
    if evidence.digest != instance.image:
        return f"it sealed itself as image {evidence.digest}, but was launched from {instance.image}"
    return True
