# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The packages of an SBOM in CycloneDX format, and how those of two images differ. Pure.

An SBOM comes from the store, so a component that is none is skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Packages = Mapping[tuple[str, str], str]  # versions by type, such as "deb", and name


def packages_of(sbom: Any) -> dict[tuple[str, str], str]:
    """Return the packages of an SBOM. Several versions of a package are one text."""
    components = sbom.get("components") if isinstance(sbom, Mapping) else None
    versions: dict[tuple[str, str], set[str]] = {}
    for each in components if isinstance(components, list) else ():
        if isinstance(each, Mapping) and isinstance(each.get("name"), str):
            key = (_type(each.get("purl")), each["name"])
            versions.setdefault(key, set()).add(str(each.get("version") or "?"))
    return {key: ", ".join(sorted(found)) for key, found in versions.items()}


def _type(purl: Any) -> str:
    """The type in a package URL, https://github.com/package-url/purl-spec."""
    text = purl if isinstance(purl, str) else ""
    return text[4:].partition("/")[0] if text.startswith("pkg:") else ""


def compared(before: Packages, after: Packages) -> list[dict[str, str]]:
    """Return the differences by type and name: ``change`` (added, removed or changed), ``before`` and ``after``."""
    return [
        {
            "change": "changed" if key in before and key in after else ("added" if key in after else "removed"),
            "type": key[0],
            "name": key[1],
            "before": before.get(key, ""),
            "after": after.get(key, ""),
        }
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]
