# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No definition mounts anything where it would hide the system of its hosts."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition

DEFINITION = """schema: 1
service: shop
version: "1"
image: {{base: {{debian: bookworm}}, provision: {{playbook: provision.yml}}}}
data: [{{name: uploads, size: 1G, mount: {mount}}}]
writable: [{writable}]
health: {{http: {{port: 80}}}}
targets: {{local: {{provider: qemu}}}}
"""
SYSTEM = [
    *("/usr", "/usr/bin", "/usr/lib", "/usr/lib/immutable", "/usr/lib/systemd/system", "/usr/lib/x86_64-linux-gnu/x"),
    *("/boot/efi", "/lib/modules", "/sbin", "/etc", "/etc/systemd", "/etc/systemd/system", "/etc/ssh"),
    *("/etc/ansible/facts.d", "/etc/pam.d", "/etc/rc2.d/x", "/etc/fstab"),
]
OWN = ["/etc/shop", "/usr/share/grafana/data", "/usr/lib/shop/cache", "/usr/local/shop", "/opt", "/var"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "provision.yml").write_text("[]\n")
    return tmp_path


def define(folder: Path, mount: str = "/srv/uploads", writable: str = "/srv/cache") -> Path:
    (folder / "immutable.yml").write_text(DEFINITION.format(mount=mount, writable=writable))
    return folder


@pytest.mark.parametrize("path", SYSTEM)
def test_a_mount_that_hides_the_system_is_refused(folder: Path, path: str) -> None:
    problem = f'"{path}" would hide the system itself (allowed: a folder of the service)'
    for kind, place in (("writable", "6: writable[0]"), ("mount", "5: data[0].mount")):
        with pytest.raises(DefinitionError) as caught:
            load_definition(define(folder, **{kind: path}))
        assert caught.value.details["problems"] == [f"immutable.yml:{place}: {problem}"]


@pytest.mark.parametrize("path", OWN)
def test_a_folder_of_the_service_is_allowed(folder: Path, path: str) -> None:
    assert load_definition(define(folder, writable=path)).writable == (path,)
    assert load_definition(define(folder, mount=path)).data[0].mount == path
