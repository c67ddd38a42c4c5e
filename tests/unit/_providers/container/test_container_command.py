# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The arguments that create a container."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.container import command

IMAGE = "sha256:" + "ab" * 32
ROW = {"path": "/var/cache/shop", "size": "64m", "mode": "0750", "uid": 0, "gid": 0, "noexec": True}
FOLDER = Path("/srv/a,b/machines/shop/token")


@dataclass
class Mount:
    source: Path
    target: str
    options: tuple[str, ...]


def artifact(**changes):
    return {
        "path": "/srv/image.tar",
        "image": IMAGE,
        "init": "command",
        "writable": [ROW],
        "stop_signal": "SIGTERM",
        "capabilities": ["NET_BIND_SERVICE"],
        **changes,
    }


def arguments(engine="podman", limits=("memory", "cpu", "pids"), published=(), mounts=(), **changes):
    spec = command.ContainerSpec(
        folder=FOLDER,
        name="token",
        artifact=artifact(**changes),
        settings={"GREETING": "hi; $(date)", "count": 3, "on": True, "no-name": "x"},
        mounts=mounts,
        memory=64 * 1024**2,
        cpus=2,
        limits=limits,
        published=published,
    )
    return command.create_arguments(engine, spec)


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_every_container_is_confined(engine):
    found = arguments(engine)
    assert found[:2] == ["create", "--pull=never"]
    assert found[-1] == IMAGE
    for each in ("--read-only", "--cap-drop=all", "--cap-add=NET_BIND_SERVICE", "--security-opt=no-new-privileges"):
        assert each in found
    assert "--network=none" in found
    assert not [each for each in found if "privileged" in each.replace("no-new-privileges", "") or "publish" in each]
    assert [each for each in found if each.startswith("--cap-add")] == ["--cap-add=NET_BIND_SERVICE"]
    assert any(each.startswith("--log-opt=max-size=") for each in found)


def test_what_engines_do_by_themselves_is_off():
    found = arguments()
    for each in ("--read-only-tmpfs=false", "--image-volume=ignore", "--http-proxy=false", "--systemd=false"):
        assert each in found


def test_writable_folders_are_bounded():
    (tmpfs,) = (each for each in arguments() if each.startswith("--tmpfs"))
    assert tmpfs == "--tmpfs=/var/cache/shop:rw,nosuid,nodev,noexec,size=64m,mode=0750,notmpcopyup"
    found = arguments(writable=[{**ROW, "uid": 33}])
    assert tmpfs in found
    (annotation,) = (each for each in found if each.startswith("--annotation"))
    assert base64.b64decode(annotation.split("=", 2)[2]) == b'[["/var/cache/shop", 33, 0, "0750"]]'
    (tmpfs,) = (each for each in arguments("docker", writable=[{**ROW, "uid": 33}]) if each.startswith("--tmpfs"))
    assert tmpfs.endswith("mode=0750,uid=33,gid=0")


def test_a_percentage_of_memory_is_one_of_the_limit():
    (tmpfs,) = (each for each in arguments(writable=[{**ROW, "size": "50%"}]) if each.startswith("--tmpfs"))
    assert f"size={32 * 1024**2}," in tmpfs


def test_limits_are_those_that_the_engine_enforces():
    assert {"--memory=67108864", "--memory-swap=67108864", "--cpu-quota=200000"} <= set(arguments())
    assert not [each for each in arguments(limits=()) if "memory" in each or "cpu-" in each or "pids" in each]


def test_a_command_gets_its_settings_as_variables_and_files():
    found = arguments()
    assert [each for each in found if each.startswith("--env")] == [
        "--env=GREETING=hi; $(date)",
        "--env=count=3",
        "--env=on=true",
    ]
    assert '--mount=type=bind,"source=/srv/a,b/machines/shop/token/launch",destination=/run/immutable,readonly' in found
    assert "--tty" not in found


def test_systemd_gets_its_launch_document_and_a_console():
    found = arguments(init="systemd", stop_signal="SIGRTMIN+3")
    assert any(
        "launch.tar" in each and each.endswith("destination=/run/host/immutable/launch.tar,readonly") for each in found
    )
    for each in ("--systemd=always", "--tty", "--stop-signal=SIGRTMIN+3"):
        assert each in found
    assert not [each for each in found if each.startswith("--env")]


def test_volumes_are_mounted_with_their_options():
    mounts = [Mount(Path("/srv/volumes/x/data"), "/var/lib/shop", ("nosuid", "nodev", "noexec"))]
    expected = "--mount=type=bind,source=/srv/volumes/x/data,destination=/var/lib/shop,bind-propagation=rprivate"
    assert f"{expected},nosuid,nodev,noexec" in arguments(mounts=mounts)
    assert expected in arguments("docker", mounts=mounts)


def test_docker_without_root_publishes_on_the_loopback():
    found = arguments("docker", published=["8080"])
    assert "--publish=127.0.0.1::8080" in found
    assert "--network=none" not in found


@pytest.mark.parametrize(
    "changes",
    [
        {"init": "openrc"},
        {"stop_signal": "TERM --privileged"},
        {"capabilities": ["ALL=x"]},
        {"capabilities": ["SYS_ADMIN"]},
        {"image": "docker.io/library/debian"},
        {"writable": [{**ROW, "path": "/a:exec"}]},
        {"writable": [{**ROW, "path": "relative"}]},
        {"writable": [{**ROW, "size": "1m,exec"}]},
        {"writable": [{**ROW, "mode": "0777,exec"}]},
        {"writable": [{**ROW, "uid": -1}]},
        {"writable": [{**ROW, "uid": "0,exec"}]},
        {"writable": "all"},
    ],
)
def test_a_damaged_record_never_becomes_an_argument(changes):
    with pytest.raises(ProviderError, match="bake"):
        command.check_artifact(artifact(**changes))
    command.check_artifact(artifact())
