# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The record of an image, the keys of its documents, and the dictionary that modules return."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ._core.errors import ImageError

# Files of an image in the store, below ``image_key``. The record is written last: an image with a record is complete.
RECORD_FILE = "record.json"
MANIFEST_FILE = "manifest.json.gz"
SBOM_FILE = "sbom.cdx.json"
LOG_FILE = "packer.log"
# What other accounts have of an image, in its artifact: ``{ACCOUNTS: {ID: {region: entry}}}``. On AWS, an entry is a
# copy as in ``copies``, or ``{"ami", SHARED: True, ROLES}`` for the AMI itself, with the ARNs of who may use its key.
# On OpenStack, the accounts are projects, and an entry is ``{"glance", SHARED: True}``.
ACCOUNTS, SHARED, ROLES = "accounts", "shared", "roles"
CloudKey = Literal["ami", "glance"]  # the key by which an artifact names its image in a cloud
DISK_CHECKSUM = "disk"  # key of the disk's checksum in a record; those of files have the names of the files


def digest_hex(digest: str) -> str:
    """Return a digest without its algorithm."""
    return digest.removeprefix("sha256:")


def image_key(digest: str, build: str) -> str:
    """Return the prefix of the image's files in the store."""
    return f"images/{digest_hex(digest)}/{build}"


def bake_name(digest: str) -> str:
    """Return the name of an image's bake. Its lock, its folders, and a tag at the provider have this name."""
    return f"bake-{digest_hex(digest)[:12]}"


@dataclass(frozen=True)
class Image:
    """One baked artifact. Its digest and build together identify it.

    Attributes:
        digest: ``sha256:<hex>`` of the inputs.
        build: provider and architecture, such as ``qemu-x86_64``.
        created: ISO 8601, UTC.
        artifact: what the provider launches: ``{"path"}`` for qemu; see ``amis_of`` and ``glance_of`` for clouds.
        base: the resolved base, as in the digest.
        inputs: every input of the digest.
        provenance: how the image was baked: versions of tools, host, git commit if there is one.
        verified: ``{"at", "checks", "verify" (digest of the verify inputs)}``, or None.
        channels: the channels that point at the image. Set when the image is read.
        seconds: duration of the bake.
        revoked: ``{"at", "by", "reason"}``, or None. Set when the image is read.
        owners: by data volume, ``uid:gid`` of its owner in the image. Empty if that was not recorded.
        checksums: hexadecimal SHA-256 of the manifest and the SBOM, by their file names, and of the disk, by
            ``DISK_CHECKSUM``. Empty for images of earlier releases.
    """

    digest: str
    build: str
    service: str
    version: str
    created: str
    artifact: Mapping[str, Any]
    base: Mapping[str, Any]
    inputs: Mapping[str, Any]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    shell: str = "restricted"
    verified: Mapping[str, Any] | None = None
    channels: tuple[str, ...] = ()
    seconds: float = 0.0
    revoked: Mapping[str, Any] | None = None
    owners: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)

    @property
    def hex(self) -> str:
        """The digest without its algorithm."""
        return digest_hex(self.digest)

    @property
    def name(self) -> str:
        """Service, version and the start of the digest."""
        return f"{self.service}-{self.version}-{self.hex[:12]}"

    @property
    def key(self) -> str:
        """The prefix of the image's files in the store."""
        return image_key(self.digest, self.build)

    @property
    def files(self) -> list[Mapping[str, Any]]:
        """The files that a build of a user's own template made; [] for other images."""
        return files_of(self.artifact.get("artifacts", ()))

    def verification_due(self, tests: str) -> str:
        """Return why the image must be verified, "" if it passed the tests with this digest of their inputs."""
        if not self.verified:
            return "it was never verified"
        return "" if self.verified.get("verify") == tests else "the tests changed since it was verified"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for results and for the record, with ``name``."""
        data = asdict(self)
        data["channels"] = list(self.channels)
        data["name"] = self.name
        if not data["owners"]:
            del data["owners"]  # records of earlier releases have none
        if not self.checksums:
            del data["checksums"]  # as earlier releases wrote it
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Image:
        """Read a record. Raises TypeError or AttributeError if it is not one."""
        known = {k: v for k, v in data.items() if k in cls.__dataclass_fields__}
        known["channels"] = tuple(known.get("channels") or ())
        return cls(**known)


def files_of(artifacts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the files of Packer's artifacts as a record has them: ``{"path", "size", "sha256"}`` at least."""
    return [file for artifact in artifacts for file in artifact["files"]]


def amis_of(artifact: Mapping[str, Any], account: str = "") -> dict[str, str]:
    """Return the AMIs of an artifact by region: the one that was baked, and its copies. {} for other artifacts.

    Such an artifact is ``{"ami", "region", "account", "name", "snapshots" (list), "architecture", "root_device",
    "copies"}``, with the copies by region: ``{"ami", "snapshots"}``. For other accounts see ``accounts_of``.

    Args:
        account: ID of the account that is to launch them; "" for the one that baked the image.
    """
    if account not in ("", artifact.get("account", "")):
        entries = accounts_of(artifact).get(account, {})
        return {region: str(one["ami"]) for region, one in entries.items() if "ami" in one}
    copies = {region: str(copy["ami"]) for region, copy in artifact.get("copies", {}).items()}
    return {str(artifact["region"]): str(artifact["ami"]), **copies} if "ami" in artifact else {}


def glance_of(artifact: Mapping[str, Any]) -> str:
    """Return the ID of the image in Glance that an artifact is; "" for other artifacts.

    Such an artifact is ``{"glance", "cloud", "region", "project", "name", "architecture", "hash" (algorithm and
    hexadecimal digits), "format" (``raw`` or ``qcow2``), "size" (bytes), "min_disk" (GiB)}``.
    """
    return str(artifact.get("glance", ""))


def glance_in(artifact: Mapping[str, Any], project: str, region: str, name: str = "the image") -> str:
    """Return the ID of an artifact's image in Glance if a project may launch it, see ``glance_of``.

    Raises ImageError, which calls the image ``name``, if it was baked in another project and is not shared with this
    one.
    """
    image = glance_of(artifact)
    if project != owner_of(artifact) and not entry_of(artifact, project, region):
        raise ImageError(
            f"{name} is not shared with project {project} in {region}: verify it again to share it, or bake it for "
            "this target"
        )
    return image


def owner_of(artifact: Mapping[str, Any]) -> str:
    """Return the ID of the account or project that baked an artifact; "" for other artifacts."""
    return str(artifact.get("account") or artifact.get("project") or "")


def accounts_of(artifact: Mapping[str, Any]) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return what other accounts have of the artifact, by their IDs and regions. See ``ACCOUNTS``."""
    found: Mapping[str, Mapping[str, Mapping[str, Any]]] = artifact.get(ACCOUNTS, {})
    return found


def entry_of(artifact: Mapping[str, Any], account: str, region: str) -> Mapping[str, Any]:
    """Return what another account has of the artifact in a region, {} if nothing. See ``ACCOUNTS``."""
    return accounts_of(artifact).get(account, {}).get(region, {})


def with_entry(artifact: Mapping[str, Any], account: str, region: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the artifact with what another account now has of it in a region."""
    accounts = accounts_of(artifact)
    return {**artifact, ACCOUNTS: {**accounts, account: {**accounts.get(account, {}), region: dict(entry)}}}


def artifact_in(artifact: Mapping[str, Any], account: str) -> dict[str, Any]:
    """Return the artifact with the AMIs of one account only; {} if it has none. See ``amis_of``."""
    (first, *others) = [*amis_of(artifact, account).items()] or [("", "")]
    copies = {region: {"ami": ami} for region, ami in others}
    return {"ami": first[1], "region": first[0], "account": account, "copies": copies} if first[1] else {}


def every_ami(artifact: Mapping[str, Any]) -> set[str]:
    """Return the AMIs of an artifact in all regions and accounts."""
    return {ami for account in ("", *accounts_of(artifact)) for ami in amis_of(artifact, account).values()}


def ami_of(artifact: Mapping[str, Any], region: str, name: str = "the image", *, account: str = "") -> str:
    """Return the AMI of an image in a region, see ``amis_of``.

    Raises ImageError, which calls the image ``name``, if it has none there.
    """
    amis = amis_of(artifact, account)
    if region not in amis:
        where = f"{region} of account {account}" if account else region
        raise ImageError(
            f"{name} has no AMI in {where} (it has one in: {', '.join(sorted(amis)) or 'none'}); "
            "verify it again to copy it there, or bake it for this target"
        )
    return amis[region]
