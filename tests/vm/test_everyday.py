# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Time, names and locale on real sealed hosts: what Debian's services write has a place, and no boot logs an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.machines import PROVISION, Service, released
from ansible_collections.immutable.infra.tests.support.on_host import run_on_host

pytestmark = pytest.mark.long
STEPS = """
    - name: Install packages
      ansible.builtin.apt:
        name: {packages}
        install_recommends: false
        update_cache: true
    - name: Configure them
      ansible.builtin.shell: |
        {command}
"""
SYSTEMD = (
    "[systemd-timesyncd, systemd-resolved, locales, tzdata, cron]",
    """set -e
        echo 'de_DE.UTF-8 UTF-8' > /etc/locale.gen
        locale-gen
        update-locale LANG=de_DE.UTF-8
        ln -sf /usr/share/zoneinfo/Europe/Berlin /etc/localtime
        echo shop > /etc/hostname""",
)
CLASSIC = (
    "[chrony, isc-dhcp-client, ifupdown]",
    """set -e
        printf 'auto lo eth0\\niface lo inet loopback\\niface eth0 inet dhcp\\n' > /etc/network/interfaces
        systemctl disable immutable-network.service
        systemctl enable networking.service""",
)


def _service(folder: Path, name: str, steps: tuple[str, str]) -> Service:
    service = Service(folder / name, name, size=1, shell="restricted", data=True)
    packages, command = steps
    provision = PROVISION + STEPS.format(packages=packages, command=command).lstrip("\n")
    (service.folder / "provision.yml").write_text(provision, encoding="utf-8")
    return service


@pytest.fixture
def modern(tmp_path: Path) -> Iterator[Service]:
    """With systemd's own services. Its data volume is inside a tmpfs and executes nothing."""
    service = _service(tmp_path, "modern", SYSTEMD)
    for name in ("immutable.yml", "echo.service"):
        text = (service.folder / name).read_text(encoding="utf-8")
        text = text.replace('"/var/lib/echo"', '"/var/log/echo", "noexec": true').replace("/var/lib/", "/var/log/")
        (service.folder / name).write_text(text, encoding="utf-8")
    with released(service) as running:
        yield running


@pytest.fixture
def classic(tmp_path: Path) -> Iterator[Service]:
    with released(_service(tmp_path, "classic", CLASSIC)) as running:
        yield running


def assert_no_errors(service: Service) -> None:
    assert run_on_host(service, "systemctl", "--failed", "--no-legend", "--plain") == ""
    lines = run_on_host(service, "journalctl", "-b", "-o", "short-monotonic").splitlines()
    messages = [line for line in lines if " kernel: " not in line]
    assert [line for line in messages if "read-only file system" in line.lower()] == []
    errors = run_on_host(service, "journalctl", "-b", "-p", "err", "-o", "short-monotonic", "--no-pager")
    assert [line for line in errors.splitlines() if " kernel: " not in line and not line.startswith("--")] == []


def options_of(service: Service, mount: str) -> set[str]:
    return set(run_on_host(service, "findmnt", "-no", "OPTIONS", mount).strip().split(","))


def test_services_of_systemd_run_on_a_read_only_root(modern: Service) -> None:
    assert_no_errors(modern)
    for unit in ("systemd-timesyncd", "systemd-resolved"):
        assert run_on_host(modern, "systemctl", "is-active", unit).strip() == "active"
    assert "nameserver 127.0.0.53" in run_on_host(modern, "cat", "/etc/resolv.conf")
    assert "LANG=de_DE.UTF-8" in run_on_host(modern, "localectl", "status")
    assert run_on_host(modern, "env", "LC_ALL=de_DE.UTF-8", "date", "-d", "2026-03-01 12:00 UTC", "+%B %Z").strip() == (
        "März CET"
    )
    machine_id = run_on_host(modern, "cat", "/etc/machine-id").strip()
    assert len(machine_id) == 32
    assert run_on_host(modern, "cat", "/var/lib/dbus/machine-id").strip() == machine_id
    assert {"rw", "nosuid", "nodev", "noexec"} <= options_of(modern, "/var/log/echo")


def test_chrony_and_dhclient_run_on_a_read_only_root(classic: Service) -> None:
    assert_no_errors(classic)
    for unit in ("chrony", "networking"):
        assert run_on_host(classic, "systemctl", "is-active", unit).strip() == "active"
    for path in ("/var/lib/chrony", "/var/lib/dhcp"):
        assert {"rw", "nosuid", "nodev"} <= options_of(classic, path)
    assert "lease {" in run_on_host(classic, "cat", "/var/lib/dhcp/dhclient.eth0.leases")
    assert "nameserver 10.0.2.3" in run_on_host(classic, "cat", "/etc/resolv.conf")
    options = options_of(classic, "/var/lib/echo")
    assert {"nosuid", "nodev"} <= options and "noexec" not in options
