# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Targets whose image another target bakes, in its own account or project. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from .image_from import WAYS, ImageFrom
from .model import ProviderName, Target
from .providers import RULES

# Where a target has the accounts of all that use its image, by the providers that hand images over.
_WITH_USERS: Mapping[ProviderName, Callable[[Target, Sequence[Target]], Target]] = {
    "aws": lambda target, users: replace(target, image_users=tuple(each.aws for each in users)),
    "openstack": lambda target, users: replace(target, image_clouds=tuple(each.openstack for each in users)),
}


def with_image_sources(targets: Mapping[str, Target], sources: Mapping[str, Mapping[str, str]]) -> dict[str, Target]:
    """Return the targets with everything that they take from the target that bakes their image.

    Args:
        sources: the value of ``image_from`` by target.
    """
    resolved = {name: _sourced(target, targets, sources.get(name, {})) for name, target in targets.items()}
    users = {name: [each for each in resolved.values() if _baker(each) == name] for name in targets}
    return {name: _used_by(target, users[_baker(target) or name]) for name, target in resolved.items()}


def _used_by(target: Target, users: Sequence[Target]) -> Target:
    """The target with the accounts of all whose image comes from where its own does."""
    return _WITH_USERS[target.provider](target, users) if users else target


def _sourced(target: Target, targets: Mapping[str, Target], source: Mapping[str, str]) -> Target:
    if not source or not RULES[target.provider].hand_over:  # a simulated target bakes nothing
        return target
    how = next(way for way in WAYS if way in source)
    baker = targets[source[how]]
    return replace(
        target,
        base=baker.base,
        build=replace(baker.build, kms_key=target.build.kms_key),
        image_from=ImageFrom(how, baker.name, baker.build_account, baker.build_cloud),
    )


def _baker(target: Target) -> str:
    """The target that bakes its image, "" for itself."""
    return target.image_from.target if target.image_from else ""
