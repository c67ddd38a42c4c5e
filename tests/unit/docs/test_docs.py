# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every example in README and docs works.

Definitions load, Ansible and the modules accept the playbooks, and commands exist.
"""

from __future__ import annotations

import configparser
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._definition import load as loading
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.fleet import fleet_files
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Definition
from ansible_collections.immutable.infra.tests.support.certificates import issue
from botocore.validate import ParamValidator

ROOT = Path(__file__).resolve().parents[3]
NOTES = ROOT / "examples/notes"
EXAMPLES = {"docs/how-to/databases.md": ROOT / "examples/redis"}  # by page; all others show files of the quickstart
COLLECTIONS = Path(loading.__file__).parents[6]  # where this collection was imported from
ENVIRONMENT = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
PREFIX = "immutable.infra."
DEFINITION_KEYS = {"schema", "service", "version", "image", "data", "writable", "seal", "health", "fleet", "targets"}
FILE_KEYS = {"playbook", "requirements", "vars_files", "verify"}


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str
    file: str  # the file that the block shows, from the line before: "`verify.yml`:"

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def data(self) -> Any:
        return yaml.safe_load(self.text)


def blocks(*languages: str) -> list[Block]:
    return [
        block
        for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
        for block in _of_page(page)
        if block.language in languages
    ]


def _of_page(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        before = text[: found.start()].rstrip().rpartition("\n")[2]
        named = re.fullmatch(r"`([\w./-]+)`:", before)
        body = "".join(line.removeprefix(found["indent"]) for line in found["text"].splitlines(keepends=True))
        yield Block(
            str(page.relative_to(ROOT)),
            text[: found.start()].count("\n") + 1,
            language=found["language"],
            text=body,
            file=named[1] if named else "",
        )


def is_definition(block: Block) -> bool:
    data = block.data()
    return isinstance(data, Mapping) and {key for key in data if not key.startswith("x-")} <= DEFINITION_KEYS


def is_playbook(block: Block) -> bool:
    data = block.data()
    return isinstance(data, list) and all("hosts" in play for play in data)


def is_inventory(block: Block) -> bool:
    data = block.data()
    return isinstance(data, Mapping) and data.get("plugin") == f"{PREFIX}fleet"


DEFINITIONS = [block for block in blocks("yaml") if is_definition(block)]
PLAYBOOKS = [block for block in blocks("yaml") if is_playbook(block)]
INVENTORIES = [block for block in blocks("yaml") if is_inventory(block)]
CONFIGURATIONS = [block for block in blocks("ini") if not block.file]


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_aws_would_take_the_json(block: Block) -> None:
    """A lifecycle rule of a bucket by the model of the API, a statement by the policy that is tested."""
    data = json.loads(block.text)
    if "Rules" not in data:
        policy = json.loads((ROOT / "docs/reference/aws-policy-host.json").read_text(encoding="utf-8"))
        assert data in policy["Statement"]
        return
    model = botocore.session.get_session().get_service_model("s3")
    shape = model.operation_model("PutBucketLifecycleConfiguration").input_shape
    report = ParamValidator().validate({"Bucket": "bucket", "LifecycleConfiguration": data}, shape)
    assert not report.has_errors(), report.generate_report()


def test_every_block_has_a_kind_that_is_tested() -> None:
    tested = {*DEFINITIONS, *PLAYBOOKS, *INVENTORIES, *CONFIGURATIONS, *blocks("console", "hcl", "json", "text")}
    others = [
        block for block in blocks(*{block.language for block in all_blocks()}) if block not in tested and not block.file
    ]
    # The remaining one is a changelog fragment, which the gate "changelog" checks.
    assert [block.page for block in others] == ["docs/contributing.md"]


def all_blocks() -> list[Block]:
    return [block for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) for block in _of_page(page)]


def test_there_are_examples_to_test() -> None:
    assert (
        len(DEFINITIONS) >= 5
        and len(PLAYBOOKS) >= 8
        and INVENTORIES
        and CONFIGURATIONS
        and len(blocks("console")) >= 10
    )


@pytest.mark.parametrize("block", [block for block in all_blocks() if block.file], ids=str)
def test_named_files_match_those_of_the_examples(block: Block) -> None:
    file = EXAMPLES.get(block.page, NOTES) / block.file
    assert _without_comments(block.text) == _without_comments(file.read_text(encoding="utf-8"))


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.strip().splitlines() if not line.startswith("#"))


@pytest.mark.parametrize("block", DEFINITIONS, ids=str)
def test_definitions_load(block: Block, tmp_path: Path) -> None:
    given = block.data()
    text = block.text if "schema" in given else yaml.safe_dump(_completed(given), sort_keys=False)
    load(text, tmp_path)


def _completed(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a definition, completed from the quickstart's definition."""
    notes = yaml.safe_load((NOTES / "immutable.yml").read_text(encoding="utf-8"))
    # PyYAML reads a bare off as a boolean, the definition does not.
    seal = {"seal": {"shell": "off"}} if part.get("seal", {}).get("shell") is False else {}
    # What containers cannot do is shown for virtual machines.
    machines = {"targets": {"local": {"provider": "qemu"}}} if part.get("seal", {}).get("user_namespaces") else {}
    return {**notes, **machines, **part, **seal}


def load(text: str, folder: Path) -> Definition:
    data = yaml.safe_load(text)
    for name in (*_named_files(data["image"]), *(name for _place, name in fleet_files(data))):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("---\n", encoding="utf-8")
        path.chmod(0o755)
    for health in (data["health"], *(target.get("health", {}) for target in data["targets"].values())):
        ca = health.get("http", {}).get("https", {}).get("ca")
        if ca:
            (folder / ca).write_text(issue("Example CA", ca=True).pem, encoding="ascii")
    (folder / loading.DEFINITION_FILE).write_text(text, encoding="utf-8")
    return loading.load_definition(folder)


def _named_files(part: Mapping[str, Any]) -> Iterator[str]:
    for key, value in part.items():
        if isinstance(value, Mapping):
            yield from _named_files(value)
        elif key in FILE_KEYS:
            yield from value if isinstance(value, list) else [value]


@functools.cache
def documentation(kind: str) -> Mapping[str, Any]:
    """All plugins of a kind as ansible-doc returns them. The actions take their options from the same source."""
    names = [
        PREFIX + path.stem for path in sorted((ROOT / "plugins" / {"module": "modules"}.get(kind, kind)).glob("*.py"))
    ]
    argv = [sys.executable, "-m", "ansible", "doc", "--json", "-t", kind, *names]
    found: Mapping[str, Any] = json.loads(
        subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout
    )
    return found


def options_of(kind: str, name: str) -> Mapping[str, Any]:
    options: Mapping[str, Any] = documentation(kind)[PREFIX + name]["doc"]["options"]
    return options


def test_playbooks_pass_the_syntax_check(tmp_path: Path) -> None:
    paths = []
    for number, block in enumerate(PLAYBOOKS):
        paths.append(tmp_path / f"{number}.yml")
        paths[-1].write_text(block.text, encoding="utf-8")
    argv = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "--syntax-check", *map(str, paths)]
    done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (
        f"{done.stderr}\n{[f'{path.name}: {block}' for path, block in zip(paths, PLAYBOOKS, strict=True)]}"
    )


@pytest.mark.parametrize("block", PLAYBOOKS, ids=str)
def test_tasks_use_existing_options_of_our_modules(block: Block) -> None:
    for task in (task for play in block.data() for task in play.get("tasks", ())):
        for name in (key.removeprefix(PREFIX) for key in task if key.startswith(PREFIX)):
            spec, given = options_of("module", name), task[f"{PREFIX}{name}"] or {}
            assert set(given) <= set(spec), f"{task['name']}: {name} has no option {sorted(set(given) - set(spec))}"
            missing = {option for option, text in spec.items() if text.get("required")} - set(given)
            assert not missing, f"{task['name']}: {name} needs {sorted(missing)}"
            for option, value in given.items():
                choices = spec[option].get("choices")
                values = value if isinstance(value, list) else [value]
                assert not choices or set(values) <= set(choices), f"{task['name']}: {option} is one of {choices}"


@pytest.mark.parametrize("block", INVENTORIES, ids=str)
def test_inventories_use_existing_options_of_the_plugin(block: Block) -> None:
    assert set(block.data()) <= set(options_of("inventory", "fleet"))


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=str)
def test_units_can_be_parsed(block: Block) -> None:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.read_string(block.text)
    assert set(parser.sections()) <= {"Unit", "Service", "Install"}


@pytest.mark.skipif(not shutil.which("packer"), reason="packer is not installed")
def test_packer_accepts_the_templates(tmp_path: Path) -> None:
    for block in blocks("hcl"):
        template = tmp_path / "template.pkr.hcl"
        template.write_text(block.text, encoding="utf-8")
        done = subprocess.run(["packer", "validate", str(template)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"


def commands() -> Iterator[tuple[str, list[str]]]:
    """Each command of a console block, with its place. In a block without a prompt, every line is a command."""
    for block in blocks("console"):
        lines = block.text.splitlines()
        prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        for line in prompted or lines:
            yield str(block), shlex.split(line, comments=True)


@pytest.mark.parametrize(("place", "words"), list(commands()))
def test_commands_name_existing_things(place: str, words: list[str]) -> None:
    check = {
        "ansible": _ad_hoc,
        "ansible-playbook": _playbook,
        "ansible-doc": _documentation,
        "make": _make,
        "ansible-inventory": _unchecked,
        "ansible-galaxy": _unchecked,
        "sudo": _packages,
        "pip": _libraries,
        "curl": _unchecked,
        "redis-cli": _unchecked,
        "tests/tools/with-collection": _unchecked,
    }
    assert words[0] in check, f"{place}: {words[0]} is not known here"
    check[words[0]](words)


def _playbook(words: list[str]) -> None:
    names = [word.removeprefix(PREFIX) for word in takewhile(lambda word: not word.startswith("-"), words[1:])]
    for name, word in zip(names, words[1:], strict=False):
        assert word.startswith(PREFIX) and (ROOT / f"playbooks/{name}.yml").is_file(), f"there is no playbook {word}"
    texts = [_text_of(name) for name in names]
    shared = ("tasks/variables.yml", "vars/paths.yml")
    known = "".join([*texts, *((ROOT / "playbooks" / name).read_text(encoding="utf-8") for name in shared)])
    given = {
        value.partition("=")[0]
        for flag, value in zip(words, words[1:], strict=False)
        if flag == "-e" and not value.startswith("@")
    }
    assert names and all(re.search(rf"\b{variable}\b", known) for variable in given), (
        f"{sorted(given)}: not all of them are variables of the playbooks"
    )
    needed = {name for text in texts for name in re.findall(r"immutable_needed: \[(.*)\]", text)[0].split(", ")}
    assert needed <= given, f"{' '.join(names)}: {sorted(needed - given)} are missing"


def _text_of(name: str) -> str:
    """The text of a playbook, or of the last one that it imports, which needs the most variables."""
    text = (ROOT / f"playbooks/{name}.yml").read_text(encoding="utf-8")
    imported = re.findall(rf"import_playbook: {re.escape(PREFIX)}(\w+)", text)
    return _text_of(imported[-1]) if imported else text


def _ad_hoc(words: list[str]) -> None:
    module = words[words.index("-m") + 1]
    if module.startswith(PREFIX):
        options = {pair.partition("=")[0] for pair in shlex.split(words[words.index("-a") + 1])}
        assert options <= set(options_of("module", module.removeprefix(PREFIX)))
    else:
        assert module.startswith("ansible.builtin.")


def _documentation(words: list[str]) -> None:
    assert (ROOT / f"plugins/modules/{words[-1].removeprefix(PREFIX)}.py").is_file()


def _make(words: list[str]) -> None:
    goals = [word for word in words[1:] if "=" not in word]
    assert set(goals) <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def _packages(words: list[str]) -> None:
    """The commands install what the quickstarts install, less what only they need."""
    text = (ROOT / "tests/tools/install").read_text(encoding="utf-8")
    sets = {name: set(value.split()) for name, value in re.findall(r'^(\w+)="(.*)"$', text, re.MULTILINE)}
    shared = (sets["first"] | sets["shared"]) - {"python3-venv", "hey"}
    known = set(re.findall(r"^[\w-]+", (ROOT / "bindep.txt").read_text(encoding="utf-8"), re.MULTILINE))
    assert shared | sets["containers"] | sets["machines"] == known - {"openssh-clients"}, (
        "bindep.txt has other packages than tests/tools/install"
    )
    allowed = [shared | sets["containers"], shared | sets["machines"], sets["machines"]]
    assert set(words[3:]) in allowed, "the packages are neither those of containers nor those of virtual machines"


def _libraries(words: list[str]) -> None:
    known = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert set(words[2:]) <= {*known, "ansible-core>=2.16"}


def _unchecked(words: list[str]) -> None:
    """A command of another project. There is nothing to check."""
