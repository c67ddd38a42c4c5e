# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check targets whose image another target bakes, in its own account or project.

Snapshots that are encrypted with the account's default key ``aws/ebs`` cannot be shared, see
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/sharingamis-explicit.html.
"""

from __future__ import annotations

import json
from typing import Any

from ..document import Document, KeyPath, suggestion, target_names, value_at
from ..image_from import WAYS
from ..providers import RULES

DEFAULT_KEY = "alias/aws/ebs"


def check_image_sources(document: Document) -> None:
    """Add a problem for each ``image_from`` that cannot work."""
    for name in target_names(document.data):
        source = value_at(document.data, ("targets", name, "image_from"))
        for way in WAYS if isinstance(source, dict) else ():
            if isinstance(source.get(way), str):
                _check_source(document, name, way, source[way])


def _check_source(document: Document, name: str, way: str, baker: str) -> None:
    place: KeyPath = ("targets", name, "image_from", way)
    names = target_names(document.data)
    if baker not in names:
        document.add_problem(
            place, f"there is no target {json.dumps(baker)} ({suggestion(baker, names)}allowed: {', '.join(names)})"
        )
        return
    if value_at(document.data, ("targets", baker, "image_from")) is not None:
        what = "itself" if baker == name else f"{baker}, which bakes no image of its own"
        document.add_problem(place, f"the image cannot come from {what} (allowed: a target without image_from)")
        return
    provider, own = (value_at(document.data, ("targets", each, "provider")) for each in (baker, name))
    rules = RULES.get(own) if isinstance(own, str) else None
    ways = rules.hand_over if rules else ()
    if ways and own != provider:
        document.add_problem(place, f"the target {baker} has the provider {provider} (allowed: a target on {own})")
        return
    if ways and way not in ways:
        document.add_problem(
            place, f"the provider {own} copies no images between projects (allowed: {', '.join(ways)})"
        )
    for keys in [("base",), *(("build", key) for key in _own_build(document, name) if key != "kms_key")]:
        if value_at(document.data, ("targets", name, *keys)) is not None:
            document.add_problem(
                ("targets", name, *keys), f"has no effect, because the target {baker} bakes the image; remove this key"
            )
    can_encrypt = rules is None or rules.uses(("build", "encrypt"))
    if can_encrypt and value_at(document.data, ("targets", baker, "build", "encrypt")) is not False:
        _check_keys(document, name, way, baker)


def _own_build(document: Document, name: str) -> list[str]:
    build = value_at(document.data, ("targets", name, "build"))
    return list(build) if isinstance(build, dict) else []


def _check_keys(document: Document, name: str, way: str, baker: str) -> None:
    """Keys of encrypted snapshots."""
    key, used = _key(document, baker), _key(document, name)
    if key in (None, "") or _is_default(key):
        document.add_problem(
            ("targets", baker),
            f"its image is for the account of target {name}, but AWS shares no snapshot that is encrypted with the "
            f"account's default key {DEFAULT_KEY} (allowed: build.kms_key with a key of your own, or build.encrypt: "
            "false)",
        )
    if value_at(document.data, ("targets", name, "role")) is None:
        document.add_problem(
            ("targets", name),
            f"its image is encrypted with a key of another account, which grants its use to a role (allowed: role, or "
            f"build.encrypt: false for target {baker})",
        )
    here, there = _region(document, name), _baking_region(document, baker)
    if way == "copy" or not here or not there:
        return
    if here == there and used is not None:
        document.add_problem(
            ("targets", name, "build", "kms_key"),
            f"has no effect, because this target launches the AMI of target {baker} itself; remove this key",
        )
    elif here != there and (used in (None, "") or _is_default(used)):
        document.add_problem(
            ("targets", name),
            f"the account of target {baker} shares a copy of the AMI in {here}, and AWS shares no snapshot that is "
            f"encrypted with the account's default key {DEFAULT_KEY} (allowed: build.kms_key with a key of that account"
            " in that region)",
        )


def _is_default(key: Any) -> bool:
    return isinstance(key, str) and key.endswith(DEFAULT_KEY)


def _key(document: Document, name: str) -> Any:
    return value_at(document.data, ("targets", name, "build", "kms_key"))


def _region(document: Document, name: str) -> Any:
    return value_at(document.data, ("targets", name, "region"))


def _baking_region(document: Document, name: str) -> Any:
    return value_at(document.data, ("targets", name, "build", "region")) or _region(document, name)
