# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a definition may say about containers, and which message the rest results in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._container_processes import ALLOWED_CAPABILITIES
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition import messages
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.capabilities import (
    REFUSED_CAPABILITIES,
    SYSTEMD_CAPABILITIES,
    granted_capabilities,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.digest import bake_inputs, digest_of
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.explain import compare, explain_lines
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.launch import machine_settings
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.summary import summary_of, target_summary

PLAIN = """\
schema: 1
service: shop
version: "1"
image:
  base: {debian: bookworm}
  provision: {playbook: provision.yml}
health: {http: {port: 8080}}
targets:
  local:
    provider: container
"""
COMMAND = PLAIN.replace("health:", "  command: [/usr/bin/shop, --port, '8080']\n  user: shop\nhealth:")
DIGEST = "0123456789abcdef" * 4
ALLOWED = (
    "AUDIT_WRITE, CHOWN, DAC_OVERRIDE, FOWNER, FSETID, IPC_LOCK, KILL, NET_BIND_SERVICE, NET_RAW, SETFCAP, SETGID, "
    "SETPCAP, SETUID, SYS_CHROOT"
)
BASES = "debian, container, archive; a target may set its own base"
REGISTRY = (
    "is not an image in a registry, named with its digest (allowed: a registry, a name and a digest, such as "
    "docker.io/library/debian@sha256: followed by 64 lowercase hexadecimal digits)"
)
BOTH = (
    "target local runs qemu, whose hosts need systemd as their first process (allowed: a definition whose targets all "
    "run container or simulated; without command, one definition serves containers and other hosts)"
)


def load(folder: Path, text: str = PLAIN, *changes: tuple[str, str]) -> Definition:
    (folder / "provision.yml").write_text("[]\n", encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "immutable.yml").write_text(text, encoding="utf-8")
    return load_definition(folder)


def problems(folder: Path, text: str, *changes: tuple[str, str]) -> list[str]:
    with pytest.raises(DefinitionError) as failed:
        load(folder, text, *changes)
    return [each.removeprefix("immutable.yml:") for each in failed.value.details["problems"]]


def test_a_plain_definition_runs_systemd_by_podman_without_limits(tmp_path: Path) -> None:
    definition = load(tmp_path)
    target = definition.target("local")
    assert (definition.command, definition.user, definition.capabilities) == ((), "", ())
    assert (target.engine, target.machine.memory, target.machine.cpus) == ("podman", 0, 0)
    assert machine_settings(target) == {}


def test_only_what_is_declared_is_a_setting_of_the_launch(tmp_path: Path) -> None:
    declared = (
        "container\n    engine: docker\n    machine: {memory: 1G, cpus: 2}\n"
        "    reach: {'10.0.2.100:1': 'db.example.com:1'}"
    )
    target = load(tmp_path, PLAIN, ("container", declared)).target("local")
    assert machine_settings(target) == {
        "memory": 1024**3,
        "cpus": 2,
        "reach": {"10.0.2.100:1": "db.example.com:1"},
        "engine": "docker",
    }


def test_a_command_and_its_user_are_read_and_shown(tmp_path: Path) -> None:
    definition = load(tmp_path, COMMAND)
    assert (definition.command, definition.user) == (("/usr/bin/shop", "--port", "8080"), "shop")
    summary = summary_of(definition, definition.target("local"))
    assert (summary["command"], summary["user"]) == (["/usr/bin/shop", "--port", "8080"], "shop")
    assert target_summary(definition.target("local"))["engine"] == "podman"


def test_results_of_other_targets_stay_as_they_were(tmp_path: Path) -> None:
    definition = load(tmp_path, PLAIN, ("container", "qemu"))
    assert "engine" not in target_summary(definition.target("local"))
    assert not {"command", "user", "capabilities"} & set(summary_of(definition, definition.target("local")))


def test_what_a_container_runs_is_an_input_only_if_it_is_given(tmp_path: Path) -> None:
    def inputs(text: str) -> dict[str, object]:
        definition = load(tmp_path, text)
        return bake_inputs(definition, definition.target("local"), {"sha256": DIGEST})

    plain = inputs(PLAIN)
    assert not {"command", "user"} & set(plain["image"])  # type: ignore[call-overload]
    assert "capabilities" not in plain["seal"]  # type: ignore[operator]
    both = inputs(COMMAND.replace("health:", "seal: {capabilities: [SETUID, NET_BIND_SERVICE]}\nhealth:"))
    assert digest_of(plain) != digest_of(both)
    assert explain_lines(compare(plain, both)) == [
        'image.command: absent -> ["/usr/bin/shop", "--port", "8080"]',
        'image.user: absent -> "shop"',
        'seal.capabilities: absent -> ["NET_BIND_SERVICE", "SETUID"]',
    ]


def test_capabilities_of_containers_make_no_new_image_for_other_hosts(tmp_path: Path) -> None:
    definition = load(
        tmp_path,
        PLAIN,
        ("health:", "seal: {capabilities: [NET_RAW]}\nhealth:"),
        ("container\n", "container\n  machines:\n    provider: qemu\n"),
    )
    seals = {name: bake_inputs(definition, definition.target(name), {})["seal"] for name in ("local", "machines")}
    assert seals == {"local": {"shell": "restricted", "capabilities": ["NET_RAW"]}, "machines": {"shell": "restricted"}}


def test_an_instance_has_what_systemd_needs_or_with_a_command_nothing_and_what_is_declared() -> None:
    assert granted_capabilities((), ()) == SYSTEMD_CAPABILITIES
    assert granted_capabilities(("shop",), ()) == ()
    assert granted_capabilities(("shop",), ("NET_RAW", "CHOWN")) == ("CHOWN", "NET_RAW")
    assert set(granted_capabilities((), ("NET_RAW", "CHOWN"))) == {*SYSTEMD_CAPABILITIES, "NET_RAW"}


def test_every_list_of_capabilities_says_the_same() -> None:
    assert ", ".join(ALLOWED_CAPABILITIES) == ALLOWED
    assert not set(ALLOWED_CAPABILITIES) & set(REFUSED_CAPABILITIES)
    schema = json.loads(messages.SCHEMA.read_text(encoding="utf-8"))
    found = schema["properties"]["seal"]["properties"]["capabilities"]
    assert found["items"]["x-allowed"] == ALLOWED and found["x-allowed"].endswith(ALLOWED)
    assert all(re.search(found["items"]["pattern"], name) for name in (*ALLOWED_CAPABILITIES, *REFUSED_CAPABILITIES))


@pytest.mark.parametrize("name", REFUSED_CAPABILITIES)
def test_a_capability_that_breaks_the_seal_is_refused_with_its_reason(tmp_path: Path, name: str) -> None:
    for written in (name, f"CAP_{name}"):
        assert problems(tmp_path, PLAIN, ("health:", f"seal: {{capabilities: [CHOWN, {written}]}}\nhealth:")) == [
            f"7: seal.capabilities[1]: {name} would break the seal: it {REFUSED_CAPABILITIES[name]} "
            f"(allowed: {ALLOWED})"
        ]


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        (PLAIN, "health:", "seal: {capabilities: [CAP_CHOWN]}\nhealth:",
         '7: seal.capabilities[0]: "CAP_CHOWN" is written without CAP_: CHOWN'),
        (PLAIN, "health:", "seal: {capabilities: [EVERYTHING]}\nhealth:",
         f'7: seal.capabilities[0]: "EVERYTHING" is not a capability that a service may have (allowed: {ALLOWED})'),
        (PLAIN, "health:", "seal: {capabilities: [all]}\nhealth:",
         f'7: seal.capabilities[0]: "all" is not the name of a capability (allowed: {ALLOWED})'),
        (PLAIN, "health:", "seal: {user_namespaces: true}\nhealth:",
         "7: seal.user_namespaces: target local runs containers, in which no user namespaces can be created (allowed: "
         "false, or a definition of its own for the targets that need them)"),
        (PLAIN.replace("container", "qemu"), "health:", "seal: {capabilities: [CHOWN]}\nhealth:",
         "7: seal.capabilities: no target runs containers, and on other hosts systemd grants capabilities; remove this "
         "key"),
        (PLAIN, "container", "container\n    engine: lxc",
         '11: targets.local.engine: "lxc" is not a supported container engine (allowed: podman, docker)'),
        (PLAIN, "container", "qemu\n    engine: podman",
         "11: targets.local.engine: the provider qemu ignores this key, which is for container; remove it"),
        (PLAIN, "container", "container\n    fleet: {strategy: reimage}",
         "11: targets.local.fleet.strategy: a container has no disk to replace, so reimage could only recreate it on "
         "target local (allowed: rolling, blue_green, canary, recreate)"),
        (PLAIN, "container", "container\n    zones: [a]",
         "11: targets.local.zones: the provider container has no zones; remove this key"),
        (PLAIN, "container", "container\n    build: {memory: 2G}",
         "11: targets.local.build.memory: the provider container ignores this key, which is for qemu; remove it"),
        (PLAIN, "container", f"container\n    authorized_key: ssh-ed25519 {'A' * 20}",
         "11: targets.local.authorized_key: a container has no SSH server, so this key opens nothing; remove it"),
        (PLAIN, "container", "container\n    secrets: {token: {ssm: token}}",
         "11: targets.local.secrets.token.ssm: the provider container does not support secrets from ssm (allowed: env "
         "or variable)"),
        (PLAIN, "health:", "data: [{name: d, size: 1G, mount: /srv/d, type: qcow2}]\nhealth:",
         '7: data[0].type: "qcow2" is not a volume type on target local, whose provider is container (allowed: folder, '
         "image)"),
        (PLAIN, "health: {http: {port: 8080}}", "health: {tcp: {port: 5432}}",
         "7: health.tcp: a connection proves nothing on target local: the network of container accepts it before the "
         "guest does, so a service that is down would pass; add expect with bytes that the service answers, and send "
         'with bytes that it needs first (for SSH, expect: "SSH-2.0"; for other services see how-to/tcp-probes)'),
        (COMMAND, "provider: container", "provider: qemu", f"7: image.command: {BOTH}"),
        (COMMAND, "  command: [/usr/bin/shop, --port, '8080']\n", "",
         "4: image.command: the key is missing; user requires it (allowed: a list with the program and its arguments, "
         'such as [/usr/bin/shop, --port, "8080"])'),
        (COMMAND, "[/usr/bin/shop, --port, '8080']", "[bin/shop]",
         '7: image.command[0]: "bin/shop" is a relative path (allowed: an absolute path in the image, or a name that '
         "is looked up in its folders of programs)"),
        (COMMAND, "[/usr/bin/shop, --port, '8080']", "[]",
         "7: image.command: an empty list does not name a program (allowed: a list with the program and its arguments, "
         'such as [/usr/bin/shop, --port, "8080"])'),
        (COMMAND, "[/usr/bin/shop, --port, '8080']", "/usr/bin/shop --port 8080",
         '7: image.command: "/usr/bin/shop --port 8080" is not a list (allowed: a list with the program and its '
         'arguments, such as [/usr/bin/shop, --port, "8080"])'),
        (COMMAND, "user: shop", "user: '0'",
         '8: image.user: "0" is not a valid user (allowed: the name of a user, or of a user and a group such as '
         "shop:www-data)"),
        (COMMAND, "health:", "seal: {log_size: 64M}\nhealth:",
         "9: seal.log_size: with a command, /var/log is only in memory if writable contains it, and the engine keeps "
         "what the command prints; remove this key, or add the path to writable"),
        (COMMAND, "{port: 8080}", "{port: 443}",
         "9: health.http.port: the command cannot listen on port 443 without a capability, also as root (allowed: a "
         "port from 1024, or seal with capabilities: [NET_BIND_SERVICE])"),
        (PLAIN, "{debian: bookworm}", "{qcow2: provision.yml, python: '3.11'}",
         f"5: image.base.qcow2: the provider container of target local cannot bake from qcow2 (allowed: {BASES})"),
        (PLAIN, "{debian: bookworm}", f"{{container: 'debian@sha256:{DIGEST}'}}",
         f'5: image.base.container: "debian@sha256:0123456789abcdef0123456789abcdef0123456789... {REGISTRY}'),
        (PLAIN, "{debian: bookworm}", "{container: 'docker.io/library/debian:12'}",
         f'5: image.base.container: "docker.io/library/debian:12" {REGISTRY}'),
        (PLAIN, "{debian: bookworm}", f"{{container: 'a.b/c@sha256:{DIGEST}', checksum: 'sha256:{DIGEST}'}}",
         '5: image.base.checksum: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0... cannot be combined with '
         "container, whose digest is in its name; remove this key"),
        (PLAIN, "{debian: bookworm}", "{archive: provision.yml}",
         "5: image.base.checksum: the key is missing; archive requires it (allowed: sha256: followed by 64 lowercase "
         "hexadecimal digits)"),
        (PLAIN, "{debian: bookworm}", f"{{archive: none.tar, checksum: 'sha256:{DIGEST}'}}",
         '5: image.base.archive: there is no file "none.tar" (allowed: the path of a tar archive)'),
        (PLAIN.replace("container", "qemu"), "{debian: bookworm}",
         f"{{archive: provision.yml, checksum: 'sha256:{DIGEST}'}}",
         "5: image.base.archive: the provider qemu of target local cannot bake from archive (allowed: debian, qcow2, "
         "url; a target may set its own base)"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported(tmp_path: Path, text: str, old: str, new: str, expected: str) -> None:
    assert problems(tmp_path, text, (old, new)) == [expected]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{debian: bookworm}", f"{{container: 'docker.io/library/debian@sha256:{DIGEST}'}}"),
        ("{debian: bookworm}", f"{{container: 'localhost:5000/debian@sha256:{DIGEST}', python: '3.13'}}"),
        ("{debian: bookworm}", f"{{archive: provision.yml, checksum: 'sha256:{DIGEST}'}}"),
        ("{port: 8080}", "{port: 80}"),  # systemd may listen there
        ("health:", "data: [{name: d, size: 1G, mount: /srv/d, type: image}]\nhealth:"),
        ("container\n", "container\n  machines: {provider: qemu}\n"),
    ],
)
def test_what_is_allowed(tmp_path: Path, old: str, new: str) -> None:
    load(tmp_path, PLAIN, (old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("health: {http: {port: 8080}}", "seal: {capabilities: [NET_BIND_SERVICE]}\nhealth: {http: {port: 80}}"),
        ("container", "container\n  rehearsal: {provider: simulated}"),
        ("[/usr/bin/shop, --port, '8080']", "[shop]"),
        ("health:", "seal: {log_size: 64M}\nwritable: [/var/log/shop]\nhealth:"),
    ],
)
def test_what_is_allowed_with_a_command(tmp_path: Path, old: str, new: str) -> None:
    load(tmp_path, COMMAND, (old, new))
