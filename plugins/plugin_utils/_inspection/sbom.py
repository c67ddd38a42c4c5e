# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the software bill of materials of an image: packages of Debian or RPM, and Python distributions."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from email.parser import BytesHeaderParser
from typing import Any, Protocol

from .._core.errors import ImageError
from .filesystem import FILE, Entry
from .rpm import DATABASES, LOG, MAX_DATABASE, RpmPackage, read_packages

try:
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.contact import OrganizationalEntity
    from cyclonedx.model.license import DisjunctiveLicense
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL
except ImportError as error:
    _IMPORT_ERROR: ImportError | None = error
else:
    _IMPORT_ERROR = None

_STATUS = re.compile(r"/var/lib/dpkg/status(\.d/[^/]*(?<!\.md5sums))?")
_PYTHON = re.compile(r".*\.dist-info/METADATA|.*\.egg-info(/PKG-INFO)?", re.DOTALL)
_OS_RELEASE = "/usr/lib/os-release"
_NAMESPACE = uuid.UUID("b1f4b7c6-6f0f-5c5e-9a43-0d6a3a0a5f2e")  # for serial numbers derived from digests


class Files(Protocol):
    """A file system, or some of its files."""

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The entries by absolute path."""

    def read(self, paths: Iterable[str], /) -> dict[str, bytes]:
        """Return the contents by path. Paths that are not files are skipped."""


def make_sbom(files: Files, digest: str, name: str, version: str) -> bytes:
    """Return the SBOM of the image ``name`` ``version`` as CycloneDX 1.6 in JSON.

    Apart from its time stamp it depends only on the image.

    Raises ImageError if cyclonedx-python-lib is missing.
    """
    if _IMPORT_ERROR is not None:
        raise ImageError(
            f"the SBOM needs a Python library on the controller ({_IMPORT_ERROR}): pip install cyclonedx-python-lib"
        )
    listed = [
        path
        for path, entry in files.entries.items()
        if entry.type == FILE and (_STATUS.fullmatch(path) or _PYTHON.fullmatch(path))
    ]
    contents = files.read([*listed, _OS_RELEASE])
    system = _os_release(contents.pop(_OS_RELEASE, b""))
    packages = [fields for path in listed if _STATUS.fullmatch(path) for fields in _stanzas(contents[path])]
    licenses = _licenses(files, packages)
    components = [_package(fields, system, licenses.get(fields["Package"], ())) for fields in packages]
    components += [_rpm(package, system) for package in _rpm_packages(files)]
    components += [
        found for path in listed if _PYTHON.fullmatch(path) and (found := _distribution(path, contents[path]))
    ]
    bom = Bom(components=components, serial_number=uuid.uuid5(_NAMESPACE, digest))
    bom.metadata.component = Component(
        name=name,
        version=version,
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref=digest,
        properties=[Property(name="immutable:digest", value=digest)],
    )
    bom.register_dependency(bom.metadata.component, components)
    return (str(JsonV1Dot6(bom).output_as_string(indent=1)) + "\n").encode("utf-8")


def _stanzas(status: bytes) -> Iterator[dict[str, str]]:
    """The installed packages of a dpkg status file, with the first line of each field."""
    for stanza in status.decode("utf-8", "replace").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line)
        if (
            "Package" in fields
            and "Version" in fields
            and fields.get("Status", "install ok installed").endswith(" installed")
        ):
            yield fields


def _package(fields: Mapping[str, str], system: Mapping[str, str], licenses: tuple[str, ...]) -> Any:
    qualifiers = {
        "arch": fields.get("Architecture", ""),
        "distro": "-".join(filter(None, (system.get("ID"), system.get("VERSION_ID")))),
    }
    purl = PackageURL(
        type="deb",
        namespace=system.get("ID", "debian"),
        name=fields["Package"],
        version=fields["Version"],
        qualifiers={key: value for key, value in qualifiers.items() if value},
    )
    return Component(
        name=fields["Package"],
        version=fields["Version"],
        purl=purl,
        bom_ref=purl.to_string(),
        supplier=OrganizationalEntity(name=fields["Maintainer"]) if "Maintainer" in fields else None,
        licenses=[DisjunctiveLicense(name=license_name) for license_name in licenses],
        properties=[Property(name="immutable:source", value=fields.get("Source", fields["Package"]))],
    )


def _rpm_packages(files: Files) -> list[RpmPackage]:
    """The packages of the first RPM database. The paths of both can be the same file. Raises ImageError."""
    sizes = {path: files.entries[path].size for path in DATABASES if path in files.entries}
    for path, size in sizes.items():
        if files.entries[path].type != FILE:
            continue
        if size > MAX_DATABASE:
            raise ImageError(f"{path} of the image has {size} bytes; at most {MAX_DATABASE} are read")
        found = files.read([path, path + LOG])
        return read_packages(found[path], found.get(path + LOG, b""))
    return []


def _rpm(package: RpmPackage, system: Mapping[str, str]) -> Any:
    """See https://github.com/package-url/purl-spec/blob/main/types-doc/rpm-definition.md for the PURL."""
    version = f"{package.version}-{package.release}"
    qualifiers = {
        "arch": package.arch,
        "distro": "-".join(filter(None, (system.get("ID"), system.get("VERSION_ID")))),
        "epoch": str(package.epoch or ""),
        "upstream": package.source,
    }
    purl = PackageURL(
        type="rpm",
        namespace=system.get("ID", "rpm"),
        name=package.name,
        version=version,
        qualifiers={key: value for key, value in qualifiers.items() if value},
    )
    return Component(
        name=package.name,
        version=f"{package.epoch}:{version}" if package.epoch else version,
        purl=purl,
        bom_ref=purl.to_string(),
        supplier=OrganizationalEntity(name=package.vendor) if package.vendor else None,
        licenses=[DisjunctiveLicense(name=package.license)] if package.license else [],
        properties=[Property(name="immutable:source", value=package.source or package.name)],
    )


def _distribution(path: str, metadata: bytes) -> Any:
    """A Python distribution, or None if its metadata has no name or version."""
    fields = BytesHeaderParser().parsebytes(metadata)
    name, version = str(fields.get("Name") or "").strip(), str(fields.get("Version") or "").strip()
    if not name or not version:
        return None
    purl = PackageURL("pypi", None, name, version)
    license_name = str(fields.get("License-Expression") or fields.get("License") or "").strip().partition("\n")[0]
    return Component(
        name=name,
        version=version,
        purl=purl,
        bom_ref=f"{purl.to_string()}#{path.rpartition('/')[0] or path}",  # the same distribution may be installed twice
        licenses=[DisjunctiveLicense(name=license_name)] if license_name not in ("", "UNKNOWN") else [],
        properties=[Property(name="immutable:path", value=path.encode("utf-8", "replace").decode())],
    )


def _licenses(files: Files, packages: list[dict[str, str]]) -> dict[str, tuple[str, ...]]:
    """The licenses in the machine-readable copyright files, by package. Packages without such a file are left out."""
    paths = {f"/usr/share/doc/{fields['Package']}/copyright": fields["Package"] for fields in packages}
    found = {}
    for path, content in files.read(paths).items():
        if content.startswith(b"Format:"):
            names = re.findall(r"^License:[ \t]*(\S.*)$", content.decode("utf-8", "replace"), re.MULTILINE)
            found[paths[path]] = tuple(sorted({name.strip() for name in names}))
    return found


def _os_release(text: bytes) -> dict[str, str]:
    lines = (line.partition("=") for line in text.decode("utf-8", "replace").splitlines() if "=" in line)
    return {key.strip(): value.strip().strip("\"'") for key, _equals, value in lines}
