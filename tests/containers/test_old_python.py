# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A guest with Python 3.9, as Amazon Linux 2023 and RHEL 9 have it. Debian 11 has it as well, and can be built here."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.machines import TOKEN, Service, released

pytestmark = pytest.mark.long
PACKAGES = ("ca-certificates", "python3", "python3-apt", "systemd-sysv")


@pytest.fixture
def old(tmp_path: Path, own_store: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service whose base is an archive of Debian 11."""
    monkeypatch.setenv(TOKEN, "a-long-fake-token")
    service = Service(
        tmp_path / "old", "old", size=1, shell="restricted", data=False, store=own_store, provider="container"
    )
    root = service.folder / "root.tar"
    argv = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(PACKAGES)}", "bullseye", str(root)]
    subprocess.run(argv, check=True)
    document = json.loads((service.folder / "immutable.yml").read_text(encoding="utf-8"))
    checksum = hashlib.sha256(root.read_bytes()).hexdigest()
    document["image"]["base"] = {"archive": root.name, "checksum": f"sha256:{checksum}", "python": "3.9"}
    (service.folder / "immutable.yml").write_text(json.dumps(document), encoding="utf-8")
    return service


def test_a_guest_with_python_3_9_is_baked_by_the_ansible_core_that_supports_it(old: Service) -> None:
    with released(old):
        [log] = (old.store / "images").glob("*/*/packer.log")
        text = log.read_text(encoding="utf-8")
        assert "does not support Ansible version" not in text
        assert "failed=0" in text
        [ansible] = (old.store / "cache/ansible").iterdir()
        assert '__version__ = "2.15' in (ansible / "ansible/release.py").read_text().replace("'", '"')
