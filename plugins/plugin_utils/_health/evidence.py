# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a host's evidence proves that it is what was launched."""

from __future__ import annotations

from .._providers.contract import Instance


def proves(instance: Instance) -> bool | str:
    """True, or the reason why not.

    Only evidence of the present boot counts. Root in the guest can forge it, as the documentation says.
    """
    evidence = instance.evidence
    if evidence is None:
        return "it has not sealed itself yet"
    if evidence.nonce != instance.nonce:
        return "it sealed itself with the nonce of another launch"
    if evidence.digest != instance.image:
        return f"it sealed itself as image {evidence.digest}, but was launched from {instance.image}"
    return True
