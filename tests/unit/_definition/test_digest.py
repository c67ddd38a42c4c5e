# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which inputs a digest covers, and how a difference is explained."""

from __future__ import annotations

import os

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.digest import (
    bake_inputs,
    digest_of,
    tree_files,
    verify_digest,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.explain import compare, explain_lines
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.launch import launch_fingerprint
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore

TEXT = """\
schema: 1
service: shop
version: "1.4.2"
image:
  base: {qcow2: play/base.qcow2, python: "3.11"}
  provision: {playbook: play/provision.yml, vars: {port: 8080, token: !vault abc}, vars_files: [more.yml]}
  verify: play/verify.yml
data: [{name: uploads, size: 10G, mount: /var/lib/shop}]
writable: [/tmp, /srv/a]
health: {http: {port: 8080}}
fleet: {size: 3}
targets:
  local: {provider: qemu}
"""
BASE = {"kind": "qcow2", "sha256": "0" * 64}


@pytest.fixture
def folder(tmp_path):
    for name in (
        "play/provision.yml",
        "play/verify.yml",
        "play/templates/app.conf",
        "play/base.qcow2",
        "more.yml",
        "README",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "immutable.yml").write_text(TEXT)
    return tmp_path


def inputs(folder, text: str = TEXT):
    (folder / "immutable.yml").write_text(text)
    definition = load_definition(folder)
    return bake_inputs(definition, definition.target("local"), BASE)


def test_the_owner_of_data_is_an_input_only_if_it_is_named(folder):
    plain = inputs(folder)
    assert "owners" not in plain
    owned = inputs(
        folder, TEXT.replace("mount: /var/lib/shop}", "mount: /var/lib/shop, owner: 'db:backup', reown: true}")
    )
    assert owned["owners"] == {"uploads": {"owner": "db:backup", "reown": True}}
    assert {name: value for name, value in owned.items() if name != "owners"} == plain
    assert explain_lines(compare(plain, owned)) == [
        'owners.uploads.owner: absent -> "db:backup"',
        "owners.uploads.reown: absent -> true",
    ]


def test_noexec_is_an_input_only_if_it_is_set(folder):
    plain = inputs(folder)
    assert "noexec" not in plain
    assert inputs(folder, TEXT.replace("mount: /var/lib/shop}", "mount: /var/lib/shop, noexec: false}")) == plain
    noexec = inputs(folder, TEXT.replace("mount: /var/lib/shop}", "mount: /var/lib/shop, noexec: true}"))
    assert noexec == {**plain, "noexec": ["uploads"]}


def test_the_tree_is_the_playbooks_folder_and_the_files_that_the_definition_names(folder):
    (folder / "play/.git").mkdir()
    (folder / "play/.git/HEAD").write_text("x")
    (folder / "play/provision.yml~").write_text("x")
    assert [str(path) for path in tree_files(load_definition(folder))] == [
        "more.yml",
        "play/provision.yml",
        "play/templates/app.conf",
    ]


def test_a_store_in_the_playbooks_folder_is_not_an_input(folder):
    before = digest_of(inputs(folder))
    store = FileStore(folder / "play/store")
    store.write("images/a/record.json", {})
    store.secret_key()
    assert digest_of(inputs(folder)) == before
    assert not [path for path in tree_files(load_definition(folder)) if "store" in path.parts]


OUTSIDE = [
    ("size: 3", "size: 5"),
    ("port: 8080}}", "port: 81}}"),
    ("size: 10G", "size: 20G"),
    ("size: 10G", "size: 10G, type: raw"),
    ("size: 3", "size: 3, count_draining: false, max_age: 30d, alarm: {command: ['true']}"),
    ("qemu}", "qemu, settings: {a: b}}"),
    ("[/tmp, /srv/a]", "[/srv/a, /tmp]"),
    ("health:", "seal: {user_namespaces: false}\nhealth:"),
    ("health:", "seal: {log_size: 20%}\nhealth:"),
]
INSIDE = [
    ("1.4.2", "1.4.3", ['version: "1.4.2" -> "1.4.3"']),
    ("port: 8080,", "port: 8081,", ["image.vars.port: 8080 -> 8081"]),
    ("port: 8080,", 'port: "8080",', ['image.vars.port: 8080 -> "8080"']),
    ("port: 8080, ", "", ["image.vars.port: 8080 -> absent"]),
    ("/var/lib/shop", "/srv/shop", ['data.uploads: "/var/lib/shop" -> "/srv/shop"']),
    ("[/tmp, /srv/a]", "[/tmp]", ['writable: ["/srv/a", "/tmp"] -> ["/tmp"]']),
    ("health:", "seal: {shell: off}\nhealth:", ['seal.shell: "restricted" -> "off"']),
    ("health:", "seal: {user_namespaces: true}\nhealth:", ["seal.user_namespaces: absent -> true"]),
    ("health:", "seal: {log_size: 64M}\nhealth:", ['seal.log_size: absent -> "64M"']),
]


@pytest.mark.parametrize("old, new", OUTSIDE)
def test_settings_that_are_not_baked_are_not_inputs(folder, old, new):
    assert digest_of(inputs(folder)) == digest_of(inputs(folder, TEXT.replace(old, new)))


@pytest.mark.parametrize("old, new, lines", INSIDE)
def test_a_changed_input_changes_the_digest_and_is_explained(folder, old, new, lines):
    before, after = inputs(folder), inputs(folder, TEXT.replace(old, new))
    assert digest_of(before) != digest_of(after)
    assert explain_lines(compare(before, after)) == lines


def test_a_changed_file_is_explained_and_ciphertext_is_not_shown(folder):
    before = inputs(folder)
    (folder / "play/templates/app.conf").write_text("other")
    (folder / "play/provision.yml").chmod(0o755)
    (folder / "play/new").symlink_to("templates")
    paths = [change["path"] for change in compare(before, inputs(folder, TEXT.replace("!vault abc", "!vault abd")))]
    assert paths == ["image.vars.token", "tree:play/new", "tree:play/provision.yml", "tree:play/templates/app.conf"]
    lines = explain_lines(compare(before, inputs(folder, TEXT.replace("!vault abc", "!vault abd"))))
    assert lines[0].startswith("image.vars.token: vaulted ") and "abd" not in lines[0]
    assert lines[1] == "tree:play/new: absent -> link to templates"
    assert lines[2].endswith(" executable")


@pytest.mark.parametrize("target", ["../more.yml", "/etc/hostname"])
def test_a_link_that_leads_outside_the_tree_is_an_error(folder, target):
    (folder / "play/link").symlink_to(target)
    with pytest.raises(
        DefinitionError, match=r"play/link: the link to .* leads outside .*play, the folder of the provision playbook"
    ):
        inputs(folder)


def test_a_pipe_in_the_tree_is_an_error(folder):
    os.mkfifo(folder / "play/pipe")
    with pytest.raises(DefinitionError, match="play/pipe: is neither a file, a folder nor a link"):
        inputs(folder)


def test_a_changed_test_requires_a_verification_but_no_bake(folder):
    definition = load_definition(folder)
    digest, tested = digest_of(inputs(folder)), verify_digest(definition, definition.target("local"))
    (folder / "play/verify.yml").write_text("stricter")
    assert digest_of(inputs(folder)) == digest
    assert verify_digest(definition, definition.target("local")) != tested


FLEETS = [
    # keys of a fleet, and the file that they name
    ("before_swap: play/migrate.yml", "play/migrate.yml"),
    ("after_swap: play/migrate.yml", "play/migrate.yml"),
    ("strategy: canary, canary: [{instances: 1, check: play/migrate.yml}]", "play/migrate.yml"),
    ("strategy: canary, canary: [{instances: 1, metric: {command: [./play/alarm.sh, x], most: 1}}]", "play/alarm.sh"),
    ("alarm: {command: [play/alarm.sh]}", "play/alarm.sh"),
]


@pytest.mark.parametrize("fleet, name", FLEETS)
@pytest.mark.parametrize("place", ["the service's", "a target's", "one that its target replaces"])
def test_a_file_that_a_fleet_names_is_not_an_input(folder, fleet, name, place):
    before = digest_of(inputs(folder))
    (folder / name).write_text("x")
    (folder / name).chmod(0o755)
    general = TEXT.replace("size: 3", f"size: 3, {fleet}")
    own = "qemu, fleet: {strategy: recreate, before_swap: more.yml, after_swap: more.yml, alarm: {command: ['true']}}"
    text = {"the service's": general, "a target's": TEXT.replace("qemu", f"qemu, fleet: {{{fleet}}}")}.get(
        place, general.replace("qemu", own)
    )
    assert digest_of(inputs(folder, text)) == before
    (folder / name).write_text("other")
    assert digest_of(inputs(folder, text)) == before
    assert name not in [str(path) for path in tree_files(load_definition(folder))]


def test_a_file_that_the_bake_also_needs_is_an_input(folder):
    before = inputs(folder)
    after = inputs(
        folder,
        TEXT.replace("size: 3", "size: 3, before_swap: more.yml, alarm: {command: ['true', play/templates/app.conf]}"),
    )
    assert digest_of(after) == digest_of(before) and {"more.yml", "play/templates/app.conf"} <= set(after["tree"])


def fingerprint(key: bytes = b"key", image: str = "sha256:1", **changes: dict[str, object]) -> str:
    return launch_fingerprint(
        key, image, **{"settings": {"a": 1}, "secrets": {"s": "x"}, "machine": {"cpus": 1}, **changes}
    )


def test_the_fingerprint_of_a_launch_depends_on_every_setting_and_on_the_key():
    assert fingerprint() == fingerprint()
    others = [
        fingerprint(key=b"other"),
        fingerprint(image="sha256:2"),
        fingerprint(settings={"a": 2}),
        fingerprint(secrets={"s": "y"}),
        fingerprint(machine={"cpus": 2}),
    ]
    assert len({fingerprint(), *others}) == 6


def test_only_a_pinned_plugin_is_an_input(folder):
    before = inputs(folder)
    pinned = inputs(folder, TEXT.replace("{provider: qemu}", '{provider: qemu, build: {plugin: "1.0.9"}}'))
    other = inputs(folder, TEXT.replace("{provider: qemu}", '{provider: qemu, build: {plugin: "1.1.0", cpus: 4}}'))
    assert "plugin" not in before
    assert explain_lines(compare(before, pinned)) == ['plugin: absent -> "1.0.9"']
    assert explain_lines(compare(pinned, other)) == ['plugin: "1.0.9" -> "1.1.0"']
