# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a sealed container looks like from its inside, with systemd and with a command as its first process."""

from __future__ import annotations

import json
import re

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.capabilities import SYSTEMD_CAPABILITIES
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container_engine import ContainerEngine
from ansible_collections.immutable.infra.tests.support.machines import Service
from ansible_collections.immutable.infra.tests.support.waiting import until

UNIT_STATE = "systemctl is-system-running --wait; systemctl list-units --failed --no-legend --plain"
# Each has to fail. Root in the container runs it.
ESCAPES = {
    "write": "touch /usr/bin/x",
    "remount": "mount -o remount,rw /",
    "mount": "mount -t tmpfs none /mnt",
    "unmount": "umount /proc/sys",
    "user namespace": "unshare --user --map-root-user true",
    "mount namespace": "unshare --mount true",
    "device": "mknod /dev/disk b 8 0",
    "kernel setting": "echo 1 > /proc/sys/kernel/printk",
    "program in memory": "cp /usr/bin/true /tmp/true; /tmp/true",
}
# The numbers of these capabilities in the kernel.
NUMBERS = {
    **{"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8},
    **{"NET_BIND_SERVICE": 10, "SYS_CHROOT": 18, "SETFCAP": 31},
}


def with_systemd(service: Service) -> bool:
    return service.name.endswith("-systemd")


def shell(engine: ContainerEngine, container: str, command: str) -> str:
    return engine.run("exec", "--user=0", container, "/bin/sh", "-c", command).strip()


def containers(service: Service) -> list[str]:
    found = service.machines()
    assert found
    return found


def test_the_boot_ends_without_a_failed_unit(plain: Service, engine: ContainerEngine) -> None:
    if not with_systemd(plain):
        pytest.skip("there are no units without systemd")
    assert {shell(engine, each, UNIT_STATE) for each in containers(plain)} == {"running"}


def test_each_container_has_a_machine_id_of_its_own(plain: Service, engine: ContainerEngine) -> None:
    if not with_systemd(plain):
        pytest.skip("nothing writes a machine id without systemd")
    found = [shell(engine, each, "cat /etc/machine-id") for each in containers(plain)]
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in found) and len(set(found)) == len(found)


@pytest.mark.parametrize("escape", ESCAPES)
def test_root_in_a_container_cannot(plain: Service, engine: ContainerEngine, escape: str) -> None:
    with pytest.raises(ProviderError, match="denied|not permitted|Read-only|permission|superuser"):
        shell(engine, containers(plain)[0], ESCAPES[escape])


def test_a_container_has_only_the_capabilities_of_its_definition(plain: Service, engine: ContainerEngine) -> None:
    status = shell(engine, containers(plain)[0], "cat /proc/1/status")
    wanted = sum(1 << NUMBERS[name] for name in SYSTEMD_CAPABILITIES) if with_systemd(plain) else 0
    assert f"CapBnd:\t{wanted:016x}" in status
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status


def test_settings_and_secrets_arrive(plain: Service, engine: ContainerEngine) -> None:
    container = containers(plain)[0]
    settings = json.loads(shell(engine, container, "cat /run/immutable/settings.json"))
    assert settings["greeting"]
    assert shell(engine, container, "cat /run/immutable/secrets/token")
    assert shell(engine, container, "stat -c %a /run/immutable/secrets/token") in ("400", "440")


def test_memory_has_the_owners_and_modes_of_the_image(plain: Service, engine: ContainerEngine) -> None:
    container = containers(plain)[0]
    facts = json.loads(shell(engine, container, "cat /usr/lib/immutable/container.json"))
    for mount in facts["writable"]:
        owner = f"{mount['uid']}:{mount['gid']} {int(mount['mode'], 8):o}"
        assert shell(engine, container, f"stat -c '%u:%g %a' '{mount['path']}'") == owner, mount
        options = shell(engine, container, f"grep -F ' {mount['path']} ' /proc/self/mounts")
        assert {"noexec", "nosuid", "nodev"} <= set(options.split()[3].split(",")), mount


# What Debian's packages ask systemd for. Each setting is one of redis-server, postgresql, nginx or systemd itself.
HARDENED = """[Service]
Type=oneshot
User=nobody
ExecStart=/bin/true
PrivateTmp=true
PrivateDevices=true
PrivateUsers=true
ProtectHome=true
ProtectSystem=strict
ProtectClock=true
ProtectControlGroups=true
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
ProtectProc=invisible
NoNewPrivileges=true
CapabilityBoundingSet=
MemoryDenyWriteExecute=true
RemoveIPC=true
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
SystemCallFilter=@system-service
NoExecPaths=/
ExecPaths=/bin/true /usr/bin/true /usr/lib /lib /lib64
OOMScoreAdjust=-900
LimitNOFILE=65535
"""
BROKEN = """[Service]
ExecStart=/bin/sh -c "echo the data is of another version >&2; exit 3"
"""


def reasons(engine: ContainerEngine, container: str) -> list[str]:
    """The last lines of the log with a service that failed."""
    lines = engine.run("logs", "--tail=200", container).splitlines()
    return [line for line in lines if line.startswith("IMMUTABLE-SERVICE ")]


def test_units_of_debian_start_and_a_failed_one_says_why(plain: Service, engine: ContainerEngine) -> None:
    if not with_systemd(plain):
        pytest.skip("there are no units without systemd")
    container = containers(plain)[0]
    for name, text in {"hardened": HARDENED, "broken": BROKEN}.items():
        shell(engine, container, f"cat > /run/systemd/system/{name}.service <<'END'\n{text}END")
    shell(engine, container, "systemctl daemon-reload; systemctl start hardened; systemctl start broken")
    [line] = until(lambda: reasons(engine, container))
    shell(engine, container, "systemctl reset-failed")
    assert json.loads(line.partition(" ")[2]) == {
        "unit": "broken.service",
        "reason": "Main process exited, code=exited, status=3/NOTIMPLEMENTED",
        "output": "the data is of another version",
    }
    shell(engine, container, "rm /run/systemd/system/hardened.service /run/systemd/system/broken.service")
    shell(engine, container, "systemctl daemon-reload")
