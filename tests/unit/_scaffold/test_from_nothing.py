# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A definition from a few options: it loads, its playbooks are those of the service, and no file is overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.guard import Guard
from ansible_collections.immutable.infra.plugins.plugin_utils._core.task import Task
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._scaffold.open import Sources, write_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._scaffold.service import ServiceOptions
from ansible_collections.immutable.infra.plugins.plugin_utils._scaffold.write import write_files


def task(**modes: bool) -> Task:
    return Task(report=lambda _line: None, guard=Guard(), **modes)


def init(folder: Path, **options: Any) -> dict[str, Any]:
    return write_definition(folder, ServiceOptions(**options), Sources(), task=task())


def tasks_of(playbook: Path) -> list[dict[str, Any]]:
    return [task for play in yaml.safe_load(playbook.read_text()) for task in play["tasks"]]


def test_a_command_in_containers_is_their_first_process(tmp_path: Path) -> None:
    result = init(tmp_path / "shop", service="shop", command="/usr/bin/shop --greet 'a b'", port=80, user="shop")
    assert result["changed"] and result["files"] == ["immutable.yml", "provision.yml", "verify.yml"]
    definition = load_definition(tmp_path / "shop")
    assert definition.command == ("/usr/bin/shop", "--greet", "a b")
    assert (definition.user, definition.capabilities) == ("shop", ("NET_BIND_SERVICE",))
    assert definition.target("local").provider == "container"
    assert result["next"].endswith("-e immutable_channel=prod")


def test_on_machines_systemd_starts_the_command(tmp_path: Path) -> None:
    result = init(
        tmp_path,
        service="shop",
        providers=("container", "qemu"),
        command="/usr/bin/shop '100% $HOME \"x\"'",
        packages=("nginx-light",),
        data=("/var/lib/shop", "/srv/shop"),
        user="shop",
        port=8080,
        size=3,
    )
    assert "files/shop.service" in result["files"]
    definition = load_definition(tmp_path)
    assert {name: target.provider for name, target in definition.targets.items()} == {
        "local": "container",
        "qemu": "qemu",
    }
    assert [(volume.name, volume.mount) for volume in definition.data] == [
        ("shop", "/var/lib/shop"),
        ("shop-2", "/srv/shop"),
    ]
    unit = (tmp_path / "files/shop.service").read_text()
    assert 'ExecStart=/usr/bin/shop "100%% $$HOME \\"x\\""\n' in unit
    assert "RequiresMountsFor=/var/lib/shop\n" in unit
    names = [next(key for key in task if key != "name") for task in tasks_of(tmp_path / "provision.yml")]
    assert names == [f"ansible.builtin.{name}" for name in ("apt", "user", "file", "file", "copy", "systemd_service")]


def test_the_test_of_the_image_asks_what_the_probe_asks(tmp_path: Path) -> None:
    init(tmp_path, service="shop", port=8080, health_path="/healthz")
    request = tasks_of(tmp_path / "verify.yml")[0]["ansible.builtin.uri"]
    assert (request["url"], request["status_code"]) == ("http://127.0.0.1:8080/healthz", [200])


def test_a_service_without_http_is_probed_by_tcp(tmp_path: Path) -> None:
    init(tmp_path, service="cache", port=6379, send="PING\\r\\n", expect="+PONG", packages=("redis-server",))
    probe = load_definition(tmp_path).target("local").health.tcp
    assert probe is not None and bytes.fromhex(probe.send) == b"PING\r\n"
    assert tasks_of(tmp_path / "verify.yml")[0]["ansible.builtin.wait_for"]["port"] == 6379


def test_a_second_run_changes_nothing_and_restores_what_is_missing(tmp_path: Path) -> None:
    options: dict[str, Any] = {"service": "shop", "port": 80, "packages": ("nginx-light",)}
    init(tmp_path, **options)
    assert init(tmp_path, **options)["changed"] is False
    (tmp_path / "verify.yml").unlink()
    assert init(tmp_path, **options)["written"] == ["verify.yml"]


@pytest.mark.parametrize("name", ["immutable.yml", "verify.yml"])
def test_one_file_in_the_way_keeps_all_from_being_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine\n")
    with pytest.raises(ImmutableError, match=f"nothing was written: .*{name} exists already") as failed:
        init(tmp_path, service="shop", port=80)
    assert failed.value.details["in_the_way"] == [str(tmp_path / name)]
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "mine\n"


def test_links_and_files_for_folders_are_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "provision.yml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "files").write_text("a file\n")
    with pytest.raises(ImmutableError, match=r"provision\.yml, .*files/shop\.service exist already"):
        init(tmp_path, service="shop", port=80, providers=("qemu",), command="/usr/bin/shop")
    assert not (tmp_path / "nowhere").exists() and not (tmp_path / "immutable.yml").exists()


def test_what_was_created_is_removed_if_a_later_file_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.immutable.infra.plugins.plugin_utils._scaffold import open as opening

    monkeypatch.setattr(opening, "missing_files", lambda folder, texts: list(texts))  # another program is faster
    (tmp_path / "verify.yml").write_text("theirs\n")
    with pytest.raises(ImmutableError, match="appeared meanwhile"):
        init(tmp_path, service="shop", port=80)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"verify.yml": "theirs\n"}


def test_check_mode_writes_nothing_and_shows_the_files(tmp_path: Path) -> None:
    options = ServiceOptions(service="shop", port=80)
    result = write_definition(tmp_path / "new", options, Sources(), task=task(check_mode=True, diff=True))
    assert result["changed"] and not (tmp_path / "new").exists()
    assert [part["after_header"] for part in result["diff"]] == [
        str(tmp_path / "new" / name) for name in result["files"]
    ]
    assert "service: shop" in result["diff"][0]["after"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 80}, "service: the name of the service is required"),
        ({"service": "shop"}, "port: the port on which the service answers is required"),
        ({"service": "Shop!", "port": 80}, "service: .*is not a valid service name"),
        ({"service": "shop", "port": 80, "version": "a b"}, "version: .*is not a version"),
        ({"service": "shop", "port": 80, "data": ("/etc",)}, "data and data_size: .*would hide the system"),
        ({"service": "shop", "port": 80, "data": ("/srv/x",), "data_size": "1 GB"}, "is not a size"),
        ({"service": "shop", "port": 80, "packages": ("-o=x",)}, "packages: .* is not the name of a package"),
        ({"service": "shop", "port": 80, "user": "a\nb"}, "user: .* is not the name of a user"),
        ({"service": "shop", "port": 80, "command": "'"}, "command: No closing quotation"),
        ({"service": "shop", "port": 80, "health_path": "/{{ x }}"}, "without spaces"),
        ({"service": "shop", "port": 80, "health_path": "/{{x}}"}, "evaluated by Ansible as a template"),
        ({"service": "shop", "port": 70000}, "is not a port"),
    ],
)
def test_wrong_options_are_named_and_nothing_is_written(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ImmutableError, match=message):
        init(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_a_folder_in_the_definitions_folder_may_be_no_link_to_another_place(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "shop", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "files").symlink_to(elsewhere)
    with pytest.raises(ImmutableError, match=r"files/shop\.service exists already"):
        init(folder, service="shop", port=8080, providers=("qemu",), command="/usr/bin/shop")
    assert not list(elsewhere.iterdir())
    assert [path.name for path in folder.iterdir()] == ["files"]


def test_a_folder_that_becomes_a_link_meanwhile_is_not_followed(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "shop", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "files").symlink_to(elsewhere)
    with pytest.raises(OSError, match="files"):
        write_files(folder, {"immutable.yml": "a", "files/unit": "b"}, ["immutable.yml", "files/unit"])
    assert not list(elsewhere.iterdir())
    assert not (folder / "immutable.yml").exists()
