# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An image that 0.1.0 baked or verified is neither baked nor verified again."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.tests.unit.golden import adapter, aws_replay, plain, produced

TARGETS = [("notes", "local"), ("rich", "local"), ("rich", "unpinned"), ("rich", "trixie"), ("rich", "other")]
ON_AWS = [("aws", "prod"), ("aws", "plain"), ("aws", "copied")]


def image_of(name: str, target: str, folder: Path) -> dict[str, Any]:
    """Return the record that 0.1.0 writes for this definition."""
    told = plain.golden(f"definitions/{name}")[target]
    record = copy.deepcopy(plain.golden("given/images")["aws" if name == "aws" else "qemu"])
    record |= {"digest": told["digest"], "inputs": told["inputs"], "base": told["inputs"]["base"]}
    record |= {"service": told["definition"]["service"], "version": told["definition"]["version"]}
    record["verified"]["verify"] = told["verify_digest"]
    if name != "aws":
        (folder / "disk.qcow2").write_bytes(b"")
        record["artifact"] = {"path": str(folder / "disk.qcow2")}
    return record


def prepared(name: str, target: str, folder: Path) -> Path:
    place = folder / "definition"
    place.mkdir()
    produced.definition_in(place, name)
    record = image_of(name, target, folder)
    produced.store_in(place).write(f"images/{record['digest'][7:]}/{record['build']}/record.json", record)
    return place


@pytest.mark.parametrize(("name", "target"), [*TARGETS, *ON_AWS])
def test_an_image_that_0_1_0_baked_is_not_baked_again(name: str, target: str, tmp_path: Path) -> None:
    place = prepared(name, target, tmp_path)
    with aws_replay.answering(produced.amis), produced.steady():
        found = adapter.run_action("image", place, check_mode=True, target=[target])
    assert found.get("due") is False, found
    assert found["image"]["digest"] == plain.golden(f"definitions/{name}")[target]["digest"]


@pytest.mark.parametrize(("name", "target"), [*TARGETS, *ON_AWS])
def test_an_image_that_0_1_0_verified_is_not_verified_again(name: str, target: str, tmp_path: Path) -> None:
    place = prepared(name, target, tmp_path)
    with aws_replay.answering(produced.amis), produced.steady():
        found = adapter.run_action("image_verify", place, check_mode=True, target=target)
    assert found.get("due") is False, found


def test_a_changed_input_is_named_as_by_0_1_0(tmp_path: Path) -> None:
    place = prepared("rich", "local", tmp_path)
    document = place / "immutable.yml"
    document.write_text(document.read_text(encoding="utf-8").replace("port: 8080\n", "port: 8081\n"), encoding="utf-8")
    (place / "play/templates/app.conf").unlink()
    found = adapter.run_action("image", place, check_mode=True, target=["local"])
    assert found["due"] and found["differences"] == [
        {"path": "image.vars.port", "before": "8080", "after": "8081"},
        {"path": "tree:play/templates/app.conf", "before": "e184a4f204b1", "after": "absent"},
    ]


def test_what_0_1_0_built_of_a_template_is_not_built_again(tmp_path: Path) -> None:
    told = plain.golden("bakes/template")["file"]
    produced.template_in(tmp_path)
    record = {
        **plain.golden("given/images")["qemu"],
        "build": "packer",
        "digest": told["digest"],
        "inputs": told["inputs"],
    }
    record |= {"service": "own", "version": "1", "artifact": {"artifacts": [{"id": "x", "files": []}]}, "base": {}}
    adapter_options = {**produced.TEMPLATE, "inputs": produced.TEMPLATE["extra"], "secrets": {"password": "another"}}
    adapter_options.pop("extra")
    store = produced.store_in(tmp_path)
    store.write(f"images/{told['digest'][7:]}/packer/record.json", record)
    # The store must not lie beside the template: its files would be inputs.
    moved = tmp_path.with_name("store-of-it")
    (tmp_path / "store").rename(moved)
    found = adapter.run_action("image", tmp_path, check_mode=True, definition=None, store=str(moved), **adapter_options)
    assert found.get("due") is False, found
