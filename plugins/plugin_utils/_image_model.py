# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The image dictionary that every module returns, and its one shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ._core.errors import ImageError


@dataclass(frozen=True)
class Image:
    """One baked artifact.

    ``digest`` is ``sha256:<hex>``; with ``build`` (provider and architecture, such as ``qemu-x86_64``) it is the
    image's key in the store: ``images/<hex>/<build>/record.json``, beside ``manifest.json.gz``, ``sbom.cdx.json`` and ``packer.log``.
    """

    digest: str
    build: str
    service: str
    version: str
    created: str  # ISO 8601, UTC
    artifact: Mapping[str, Any]  # what the provider needs: {"path": ...} for qemu; for aws see amis_of
    base: Mapping[str, Any]  # the resolved base, as in the digest
    inputs: Mapping[str, Any]  # every input of the digest, for explain
    provenance: Mapping[str, Any] = field(
        default_factory=dict
    )  # tools found, host, seconds, git commit where there is one
    shell: str = "restricted"
    verified: Mapping[str, Any] | None = None  # {"at", "checks", "verify" (digest of the verify inputs)}
    channels: tuple[str, ...] = ()  # channels that point at it now; filled in when listed
    seconds: float = 0.0
    revoked: Mapping[str, Any] | None = None  # {"at", "by", "reason"}; filled in when listed

    @property
    def hex(self) -> str:
        return self.digest.removeprefix("sha256:")

    @property
    def name(self) -> str:
        return f"{self.service}-{self.version}-{self.hex[:12]}"

    @property
    def key(self) -> str:
        return f"images/{self.hex}/{self.build}"

    def as_dict(self) -> dict[str, Any]:
        """For results and for the record: plain data, with ``name``."""
        data = asdict(self)
        data["channels"] = list(self.channels)
        data["name"] = self.name
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Image:
        known = {k: v for k, v in data.items() if k in cls.__dataclass_fields__}
        known["channels"] = tuple(known.get("channels") or ())
        return cls(**known)


def amis_of(artifact: Mapping[str, Any]) -> dict[str, str]:
    """The AMI of an image on AWS by region: the one that was baked, and its copies. Nothing for other artifacts.

    Such an artifact is ``{"ami", "region", "account", "name", "snapshots" (list), "architecture", "root_device", "copies"}``, the copies
    by region: ``{"ami", "snapshots"}``.
    """
    copies = {region: str(copy["ami"]) for region, copy in artifact.get("copies", {}).items()}
    return {str(artifact["region"]): str(artifact["ami"]), **copies} if "ami" in artifact else {}


def ami_of(artifact: Mapping[str, Any], region: str, name: str = "the image") -> str:
    """The AMI of an image in a region. Raises ImageError, which calls the image ``name``, if it has none there."""
    amis = amis_of(artifact)
    if region not in amis:
        raise ImageError(
            f"{name} has no AMI in {region} (it has one in: {', '.join(sorted(amis)) or 'none'}); "
            "verify it again to copy it there, or bake it for this target"
        )
    return amis[region]


def bake_name(digest: str) -> str:
    """Of the bake of one image: its lock, its folders, and the tag of what it makes at a provider."""
    return f"bake-{digest.removeprefix('sha256:')[:12]}"
