# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every kind of mistake in a definition, with the exact message."""

from __future__ import annotations

import os

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition

GOOD = """\
schema: 1
service: shop
version: "1.4.2"
image:
  base: {debian: bookworm}
  provision: {playbook: provision.yml}
  verify: verify.yml
data:
  - {name: uploads, size: 10G, mount: /var/lib/shop}
writable: [/tmp, /var/cache/shop]
health: {http: {port: 8080}}
fleet: {size: 3}
targets:
  local: {provider: qemu}
"""
PLACE = "an absolute path such as /var/lib/shop, with letters, digits and . _ - @ + : ~ %, without a trailing slash"
NAME = "lowercase letters, digits and -, starting with a letter, at most 31 characters"
FILE = "the path of a file inside the definition's folder"
KEYS = "schema, service, version, image, data, writable, seal, health, fleet, targets"
BASE = "a mapping with exactly one of debian, qcow2, url, container, archive, ami and glance"
SIZE = "an integer followed by M, G or T, such as 512M or 10G"
WAIT = "seconds, or numbers with units such as 90s, 5m or 1h30m"
VERSION = 'text such as "1.10", with letters, digits and . _ + -, at most 63 characters'
STRATEGIES = "rolling, blue_green, canary, recreate, reimage"
FLEET = (
    "size, engine, autoscaling, strategy, surge, unavailable, count_draining, drain, stop_timeout, keep_old, hot, "
    "canary, deadline, max_age, protected, "
    "standby, windows, alarm, before_swap, after_swap, playbook_timeout"
)
VOLUME_NAME = "lowercase letters, digits and -, starting with a letter, at most 19 characters"
VARIABLES = "image.provision.vars"
ALL_OUT = "would let a swap take every instance out of service"
REBOOTS = "is not possible with reimage: a slot is out of service while its instance boots from the other image"
MOVES = (
    "is not possible if slots own data volumes: a volume cannot be in two places, so its slot is out of service "
    "while it moves"
)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    for name in ("provision.yml", "verify.yml"):
        (folder / name).write_text("[]\n")
    (tmp_path / "elsewhere.yml").write_text("[]\n")
    (folder / "link.yml").symlink_to("../elsewhere.yml")
    return folder


def problems(folder, content) -> list[str]:
    (folder / "immutable.yml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DefinitionError) as caught:
        load_definition(folder)
    lines = caught.value.details["problems"]
    assert all(line in caught.value.message for line in lines)
    return [line.removeprefix("immutable.yml:") for line in lines]


VALUES = [
    # what is replaced, by what, and the only line of the error
    (
        "{size: 3}",
        "{size: 3, surge: two}",
        '12: fleet.surge: "two" is neither a count nor a percentage (allowed: an integer from 1, or "25%")',
    ),
    (
        "{size: 3}",
        "{size: 3, surge: 0}",
        '12: fleet.surge: 0 is neither a count nor a percentage (allowed: an integer from 1, or "25%")',
    ),
    ("{size: 3}", "{sise: 3}", f'12: fleet.sise: unknown key (did you mean "size"? allowed: {FLEET})'),
    (
        "{size: 3}",
        "{strategy: slow}",
        f'12: fleet.strategy: "slow" is not a supported strategy (allowed: {STRATEGIES})',
    ),
    (
        "{size: 3}",
        "{drain: {timeout: 5 parsecs}}",
        f'12: fleet.drain.timeout: "5 parsecs" is not a duration (allowed: {WAIT})',
    ),
    ("fleet:", "flotilla:", f"12: flotilla: unknown key (allowed: {KEYS}, and x-... for anchors)"),
    ('"1.4.2"', "1.10", '3: version: 1.10 is read as the number 1.1; put it in quotes: "1.10"'),
    ('"1.4.2"', "", f"3: version: the value is empty (allowed: {VERSION})"),
    ('"1.4.2"', "1.4.2 b", f'3: version: "1.4.2 b" is not a version (allowed: {VERSION})'),
    ("service: shop\n", "", f"1: service: the key is missing (allowed: {NAME})"),
    ("service: shop", "service: |\n  shop", f'2: service: "shop\\n" is not a valid service name (allowed: {NAME})'),
    (
        "service: shop",
        "service: !vault shop",
        f"2: service: !vault is not supported here (allowed: as the whole value of a variable in {VARIABLES})",
    ),
    (
        "service: shop",
        "service: !mine shop",
        f"2: service: the tag !mine is not supported (allowed: !vault, on a variable in {VARIABLES})",
    ),
    ("{playbook: provision.yml}", "{}", f"6: image.provision.playbook: the key is missing (allowed: {FILE})"),
    ("{debian: bookworm}", "bookworm", f'5: image.base: "bookworm" is not a mapping (allowed: {BASE})'),
    (
        "{debian: bookworm}",
        "{debian: buster}",
        '5: image.base.debian: "buster" is not a supported Debian suite (allowed: bookworm, trixie)',
    ),
    ("{debian: bookworm}", "{}", f"5: image.base: an empty mapping does not name exactly one base (allowed: {BASE})"),
    (
        "{debian: bookworm}",
        '{debian: bookworm, python: "3.11"}',
        '5: image.base.python: "3.11" cannot be combined with debian, whose suite determines it; remove this key',
    ),
    (
        "{debian: bookworm}",
        "{qcow2: link.yml, python: 3.11}",
        '5: image.base.python: 3.11 is read as the number 3.11; put it in quotes: "3.11"',
    ),
    (
        "{debian: bookworm}",
        '{qcow2: no.qcow2, python: "3.11"}',
        '5: image.base.qcow2: there is no file "no.qcow2" (allowed: the path of a qcow2 disk)',
    ),
    ("{http: {port: 8080}}", "{}", "11: health: an empty mapping defines no probe (allowed: http, tcp or both)"),
    ("8080", '"8080"', '11: health.http.port: "8080" is not a port (allowed: an integer from 1 to 65535)'),
    ("8080", "8080.0", "11: health.http.port: 8080.0 is not a port (allowed: an integer from 1 to 65535)"),
    ("8080}", "8080}, timeout: 0", f"11: health.timeout: 0 is not a duration (allowed: more than zero: {WAIT})"),
    ("10G", "10", f"9: data[0].size: 10 is not a size (allowed: {SIZE})"),
    ("10G", "10GB", f'9: data[0].size: "10GB" is not a size (allowed: {SIZE})'),
    (
        "name: uploads",
        "name: twenty-letters-is-one-too-many",
        f'9: data[0].name: "twenty-letters-is-one-too-many" is not a valid volume name (allowed: {VOLUME_NAME})',
    ),
    (
        "qemu",
        "gcp",
        '14: targets.local.provider: "gcp" is not a supported provider '
        "(allowed: aws, container, openstack, qemu, simulated)",
    ),
    ("local:", "Local:", f'14: targets.Local: "Local" is not a valid target name (allowed: {NAME})'),
    (
        "\n  local: {provider: qemu}",
        " {}",
        "13: targets: an empty mapping defines no target (allowed: a mapping of target names to targets, each with "
        "its provider; at least one)",
    ),
    (
        "qemu",
        "qemu, secrets: {a: {}}",
        "14: targets.local.secrets.a: an empty mapping does not name exactly one source of the secret (allowed: "
        "exactly one of env and variable, or ssm on aws)",
    ),
    (
        "qemu",
        "qemu, settings: {a: [1]}",
        "14: targets.local.settings.a: a list is not a valid setting value (allowed: text, a number, true or false, "
        "each as it is to arrive; a mapping or list as text, such as JSON in quotes)",
    ),
    (
        "provision.yml}",
        'provision.yml, vars: {"a b": 1}}',
        '6: image.provision.vars."a b": "a b" is not a valid variable name (allowed: letters, digits and _, not '
        "starting with a digit)",
    ),
    (
        "provision.yml}",
        "provision.yml, vars: {a: .inf}}",
        "6: image.provision.vars.a: .inf is read as a number, which is not allowed here; put it in quotes",
    ),
]


@pytest.mark.parametrize("old, new, line", VALUES)
def test_a_wrong_value_is_reported_with_the_allowed_ones(folder, old, new, line):
    assert old in GOOD
    assert problems(folder, GOOD.replace(old, new)) == [line]


FILES = [
    ("provision.yml", "no.yml", f'6: image.provision.playbook: there is no file "no.yml" (allowed: {FILE})'),
    ("provision.yml", '"."', f'6: image.provision.playbook: "." is not a file (allowed: {FILE})'),
    (
        "provision.yml}",
        "provision.yml, requirements: no.yml}",
        f'6: image.provision.requirements: there is no file "no.yml" (allowed: {FILE})',
    ),
    (
        "provision.yml}",
        "provision.yml, vars_files: [no.yml]}",
        f'6: image.provision.vars_files[0]: there is no file "no.yml" (allowed: {FILE})',
    ),
    ("verify.yml", "no.yml", f'7: image.verify: there is no file "no.yml" (allowed: {FILE})'),
    (
        "verify.yml",
        "../elsewhere.yml",
        f'7: image.verify: "../elsewhere.yml" is outside the definition\'s folder (allowed: {FILE})',
    ),
    (
        "verify.yml",
        "/etc/hostname",
        f'7: image.verify: "/etc/hostname" is outside the definition\'s folder (allowed: {FILE})',
    ),
    (
        "verify.yml",
        "link.yml",
        f'7: image.verify: "link.yml" leads outside the definition\'s folder through a symbolic link (allowed: {FILE})',
    ),
    (
        "verify.yml",
        "provision.yml",
        '7: image.verify: "provision.yml" is also the provision playbook (allowed: a separate playbook)',
    ),
]


@pytest.mark.parametrize("old, new, line", FILES)
def test_a_file_must_exist_inside_the_folder(folder, old, new, line):
    assert problems(folder, GOOD.replace(old, new)) == [line]


VOLUME = "/var/lib/shop}"
PATHS = [
    (
        VOLUME,
        f"{VOLUME}\n  - {{name: uploads, size: 1G, mount: /srv}}",
        '10: data[1].name: "uploads" is already the name of data[0] (allowed: a unique name for each volume)',
    ),
    (
        VOLUME,
        f"{VOLUME}\n  - {{name: more, size: 1G, mount: {VOLUME}",
        '10: data[1].mount: "/var/lib/shop" is already the mount of data[0] (allowed: a unique mount for each volume)',
    ),
    (
        VOLUME,
        f"{VOLUME}\n  - {{name: more, size: 1G, mount: /var/lib/shop/x}}",
        '10: data[1].mount: "/var/lib/shop/x" and "/var/lib/shop" of data[0] overlap (allowed: mounts that do not '
        "contain each other)",
    ),
    (
        VOLUME,
        "/var/log}",
        '9: data[0].mount: "/var/log" is emptied at every boot of a sealed host (allowed: a folder inside it, or '
        "another path)",
    ),
    (
        "/tmp,",
        "/var/lib/shop,",
        '10: writable[0]: "/var/lib/shop" is also the mount of data[0] (allowed: a path that is either data or '
        "writable)",
    ),
    (
        "/tmp,",
        "/var/lib/shop/x,",
        '10: writable[0]: "/var/lib/shop/x" is inside the mount of data[0], /var/lib/shop, and is writable anyway; '
        "remove this entry",
    ),
    ("/tmp,", "/var/cache/shop,", '10: writable[1]: "/var/cache/shop" is listed twice (allowed: each path once)'),
    ("/tmp,", "tmp,", f'10: writable[0]: "tmp" is not a plain absolute path (allowed: {PLACE})'),
    ("/tmp,", "/,", f'10: writable[0]: "/" is not a plain absolute path (allowed: {PLACE})'),
    ("/tmp,", "/var/../tmp,", f'10: writable[0]: "/var/../tmp" is not a plain absolute path (allowed: {PLACE})'),
    ("/tmp,", "/etc,", '10: writable[0]: "/etc" would hide the system itself (allowed: a folder of the service)'),
    *(
        (
            "/tmp,",
            f"/{top}/x,",
            f'10: writable[0]: "/{top}/x" belongs to the system (allowed: a path outside /dev, /proc, /run, /sys)',
        )
        for top in ("run", "proc", "sys", "dev", "var/run", "var/lock")
    ),
]


@pytest.mark.parametrize("old, new, line", PATHS)
def test_paths_do_not_overlap(folder, old, new, line):
    assert problems(folder, GOOD.replace(old, new)) == [line]


FLEETS = [
    (
        "{size: 3}",
        "{size: 3, unavailable: 0}",
        f"12: fleet.unavailable: 0 of 3 {MOVES} (allowed: an integer from 1, or no value)",
    ),
    (
        "{size: 3}",
        '{size: 3, unavailable: "25%"}',
        f'12: fleet.unavailable: "25%" of 3, which is 0, {MOVES} (allowed: an integer from 1, or no value)',
    ),
    (
        "{size: 3}",
        "{size: 3, strategy: reimage, unavailable: 0}",
        f"12: fleet.unavailable: 0 of 3 {REBOOTS} (allowed: an integer from 1, or no value)",
    ),
    ("{size: 3}", "{size: 3, unavailable: 3}", f"12: fleet.unavailable: 3 of 3 {ALL_OUT} (allowed: at most 2)"),
    (
        "qemu",
        "qemu, fleet: {unavailable: 4}",
        f"14: targets.local.fleet.unavailable: 4 of 3 on target local {ALL_OUT} (allowed: at most 2)",
    ),
    (
        "qemu",
        "qemu, authorized_key: me",
        '14: targets.local.authorized_key: "me" is not a public SSH key (allowed: one line such as "ssh-ed25519 '
        'AAAA... name")',
    ),
]


@pytest.mark.parametrize("old, new, line", FLEETS)
def test_a_fleet_must_be_swappable(folder, old, new, line):
    assert problems(folder, GOOD.replace(old, new)) == [line]


def test_one_instance_with_data_may_be_out_of_service(folder):
    (folder / "immutable.yml").write_text(GOOD.replace("{size: 3}", "{size: 1, unavailable: 1}"))
    assert load_definition(folder).targets["local"].fleet.unavailable == 1


def test_a_key_for_hosts_without_a_shell_is_refused(folder):
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDqk me"
    text = GOOD.replace("qemu", f"qemu, authorized_key: {key}").replace("health:", "seal: {shell: off}\nhealth:")
    assert problems(folder, text) == [
        "15: targets.local.authorized_key: nobody can log in if seal.shell is off; remove this key"
    ]


FORMS = [
    ("", "1: the file is empty (allowed: a definition, which is a mapping that starts with schema: 1)"),
    ("# later\n", "1: the file is empty (allowed: a definition, which is a mapping that starts with schema: 1)"),
    ("- a\n", f"1: a list is not a mapping (allowed: a mapping with {KEYS})"),
    ("schema: 1\na: b: c\n", "2: this is not YAML: mapping values are not allowed here"),
    ("schema: \0", "1: this is not YAML: it contains the control character U+0000"),
    (
        b"schema: 1\nservice: caf\xe9\n",
        "2: the byte 0xe9 is not UTF-8; save the file in that encoding",
    ),
    (GOOD + "---\nschema: 1\n", "16: a second document starts here (allowed: one document per file)"),
    (GOOD + "service: other\n", "15: service: duplicate key, first on line 2 (allowed: each key once)"),
    (GOOD + "1: x\n", "15: the key 1 is not text; put it in quotes"),
    (
        "[" * 5000,
        "1: the definition has more than 100 mappings and lists inside each other",
    ),
]


@pytest.mark.parametrize("content, line", FORMS)
def test_a_file_that_is_not_a_yaml_mapping_is_reported(folder, content, line):
    assert problems(folder, content) == [line]


def test_all_mistakes_are_reported_at_once_in_the_order_of_lines(folder):
    text = GOOD.replace("verify.yml", "no.yml").replace("{size: 3}", "{size: 3, surge: two}").replace('"1.4.2"', "1.10")
    lines = problems(folder, text)
    assert [line.split(": ")[:2] for line in lines] == [["3", "version"], ["7", "image.verify"], ["12", "fleet.surge"]]


def test_a_missing_definition(tmp_path):
    with pytest.raises(DefinitionError) as caught:
        load_definition(tmp_path)
    where = tmp_path / "immutable.yml"
    allowed = "a YAML file, or a folder with immutable.yml in it"
    assert caught.value.message == f"{where}: cannot be read: No such file or directory (allowed: {allowed})"


def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "immutable.yml")
    with pytest.raises(DefinitionError, match="is not a file"):
        load_definition(tmp_path)


def test_the_error_of_an_unknown_target_names_the_known_ones(folder):
    (folder / "immutable.yml").write_text(GOOD)
    with pytest.raises(DefinitionError, match=r"unknown target 'prod' \(the definition has: local\)"):
        load_definition(folder).target("prod")


def test_a_missing_library_causes_one_clear_message(folder, monkeypatch):
    from ansible_collections.immutable.infra.plugins.plugin_utils._definition import messages

    messages._validator.cache_clear()
    monkeypatch.setattr(messages, "jsonschema", None)
    (folder / "immutable.yml").write_text(GOOD)
    with pytest.raises(
        DefinitionError, match="^the Python package jsonschema is missing on the controller; install it"
    ):
        load_definition(folder)
