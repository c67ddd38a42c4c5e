# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read a Packer template: its builders and provisioners, with the values that can be known without Packer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...module_utils._packer.errors import PackerError
from ...module_utils._packer.sensitive import sensitive_variables
from ...module_utils._packer.template_files import check_template, template_files
from ...module_utils._packer.variables import is_hcl2
from .._core.errors import ImmutableError
from .._core.files import open_regular
from .hcl_literals import MAX_TEXT, Block, Unread, read_hcl

_MAX_BUILDERS = 200  # each can repeat all values of its source
_USER_VARIABLE = re.compile(r"\{\{-?\s*user\s+[`\"']([^`\"']+)[`\"']\s*-?\}\}")
_TEMPLATE_FOLDER = re.compile(r"^\{\{\s*template_dir\s*\}\}/")


@dataclass(frozen=True)
class Component:
    """A builder or a provisioner.

    Attributes:
        kind: its type, such as ``qemu``.
        name: as a template names the builder; "" for a provisioner.
        values: that are known, as plain data (JSON types).
        unread: names of those that only Packer knows.
    """

    kind: str
    name: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}.{self.name}" if self.name and self.name != self.kind else self.kind


@dataclass
class Template:
    """What a template has.

    Attributes:
        folder: to which its paths are relative.
        post_processors: their types.
    """

    path: Path
    folder: Path
    builders: list[Component] = field(default_factory=list)
    provisioners: list[Component] = field(default_factory=list)
    post_processors: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name that the file or folder gives it."""
        return re.sub(r"(\.pkr)?\.(hcl|json)$", "", self.path.resolve().name)


def read_template(path: Path, values: Mapping[str, str]) -> Template:
    """Read a template, HCL2 or JSON.

    Args:
        values: of variables that Packer reports, by name.

    Raises ImmutableError if the template cannot be read.
    """
    try:
        check_template(str(path))
        texts = {file: _text(Path(file)) for file in template_files(str(path))}
    except PackerError as error:
        raise ImmutableError(f"template: {error.message}") from error
    if sum(map(len, texts.values())) > MAX_TEXT:
        raise ImmutableError(f"template: {path} has more than {MAX_TEXT} characters")
    template = Template(path, path if path.is_dir() else path.parent)
    try:
        if not is_hcl2(str(path)):
            _add_legacy(template, json.loads(texts[str(path)]))
            return template
        blocks = [
            _of_json(json.loads(text)) if name.endswith(".json") else read_hcl(text) for name, text in texts.items()
        ]
        _add_hcl2(template, [inner for block in blocks for inner in block.blocks], values)
    except (ValueError, RecursionError) as error:
        raise ImmutableError(f"template: {path} cannot be read: {error}") from error
    return template


def resolved(path: Path) -> Path | None:
    """The path without links, or None if it can be none: links in a circle, a null byte, or too long a name."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return None


def _text(path: Path) -> str:
    with open_regular(path) as file:
        return file.read(4 * MAX_TEXT + 1).decode("utf-8", "replace")


def _add_legacy(template: Template, document: Any) -> None:
    """Add the parts of a legacy JSON template, in which each part has a key ``type``."""
    if not isinstance(document, Mapping):
        raise ValueError("it is not a mapping")
    secret = sensitive_variables(str(template.path))
    variables = document.get("variables")
    defaults = {
        name: value
        for name, value in (variables.items() if isinstance(variables, Mapping) else ())
        if isinstance(value, str) and "{{" not in value and name not in secret
    }
    for part in _mappings(document.get("builders")):
        kind = _word(part.get("type"))
        template.builders.append(_component(kind, _word(part.get("name")) or kind, _rendered(part, defaults)))
    for part in _mappings(document.get("provisioners")):
        template.provisioners.append(_component(_word(part.get("type")), "", _rendered(part, defaults)))
    processors = document.get("post-processors")
    for each in processors if isinstance(processors, list) else ():
        for part in each if isinstance(each, list) else [each]:
            template.post_processors.append(_word(part.get("type") if isinstance(part, Mapping) else part))


def _add_hcl2(template: Template, blocks: list[Block], values: Mapping[str, str]) -> None:
    secret = sensitive_variables(str(template.path))
    known: dict[str, Any] = {}
    for block in blocks:
        if block.kind == "variable" and block.labels and block.values.get("sensitive") is not True:
            known[block.labels[0]] = block.values.get("default", Unread())
    known = {name: value for name, value in {**known, **values}.items() if name not in secret}
    sources = {".".join(block.labels): block for block in blocks if block.kind == "source" and len(block.labels) == 2}
    for build in (block for block in blocks if block.kind == "build"):
        for name, extra in _used(build, sources):
            if len(template.builders) == _MAX_BUILDERS:
                raise ValueError(f"it has more than {_MAX_BUILDERS} builders")
            source = sources.get(name, Block())
            kind, _dot, label = name.partition(".")
            merged = {**_all_values(source), **_all_values(extra)}
            template.builders.append(_component(kind, _word(merged.pop("name", "")) or label, _resolved(merged, known)))
        for block in build.of("provisioner"):
            kind = next(iter(block.labels), "")
            template.provisioners.append(_component(kind, "", _resolved(_all_values(block), known)))
        processors = build.of("post-processor")
        processors += [inner for each in build.of("post-processors") for inner in each.of("post-processor")]
        template.post_processors += [next(iter(block.labels), "") for block in processors]


def _used(build: Block, sources: Mapping[str, Block]) -> Iterator[tuple[str, Block]]:
    """The sources that a build uses, with what it sets itself."""
    listed = build.values.get("sources", [])
    for name in listed if isinstance(listed, list) else sources:
        if isinstance(name, str):
            yield name.removeprefix("source."), Block()
    for block in build.of("source"):
        if block.labels:
            yield block.labels[0].removeprefix("source."), block


def _all_values(block: Block) -> dict[str, Any]:
    """The values of a block. A block inside it is a mapping, as in JSON."""
    return {**block.values, **{inner.kind: _all_values(inner) for inner in block.blocks}}


def _of_json(document: Any) -> Block:
    """The blocks of a template in the JSON syntax of HCL2, where labels are keys of mappings."""
    found = Block()
    labels = {"variable": 1, "source": 2, "build": 0}
    for kind, number in labels.items():
        for part in _mappings(document.get(kind) if isinstance(document, Mapping) else None):
            found.blocks += _labeled(kind, part, number)
    return found


def _labeled(kind: str, part: Mapping[str, Any], labels: int) -> Iterator[Block]:
    if labels:
        for label, inner in part.items():
            for each in _mappings(inner):
                for block in _labeled(kind, each, labels - 1):
                    yield Block(kind, [label, *block.labels], block.values, block.blocks)
        return
    block = Block(kind)
    for name, value in part.items():
        nested = {"provisioner": 1, "post-processor": 1, "source": 1, "post-processors": 0} if kind == "build" else {}
        if name in nested:
            for each in _mappings(value):
                block.blocks += _labeled(name, each, nested[name])
        else:
            block.values[name] = _interpolated(value)
    yield block


def _interpolated(value: Any) -> Any:
    """A value of the JSON syntax, in which every text is a template of HCL."""
    if isinstance(value, str):
        variable = re.fullmatch(r"\$\{var\.([\w-]+)\}", value)
        return Unread(variable.group(1)) if variable else Unread() if re.search(r"[$%]\{", value) else value
    if isinstance(value, list):
        return [_interpolated(part) for part in value]
    return {key: _interpolated(part) for key, part in value.items()} if isinstance(value, Mapping) else value


def _rendered(value: Any, defaults: Mapping[str, str]) -> Any:
    """A value of a legacy template, with the defaults of its variables."""
    if isinstance(value, str):
        text = _USER_VARIABLE.sub(lambda found: defaults.get(found.group(1), found.group(0)), value)
        text = _TEMPLATE_FOLDER.sub("./", text)
        return Unread() if "{{" in text else text
    if isinstance(value, list):
        return [_rendered(part, defaults) for part in value]
    return {key: _rendered(part, defaults) for key, part in value.items()} if isinstance(value, Mapping) else value


def _resolved(value: Any, variables: Mapping[str, Any]) -> Any:
    """A value of an HCL2 template, with the values of variables, and without what only Packer knows."""
    if isinstance(value, Unread):
        known = variables.get(value.variable, value)
        return known if not isinstance(known, Unread) else value
    if isinstance(value, str):  # some fields are templates of Go as well
        return Unread() if "{{" in value else value
    if isinstance(value, list):
        return [_resolved(part, variables) for part in value]
    return {key: _resolved(part, variables) for key, part in value.items()} if isinstance(value, Mapping) else value


def _component(kind: str, name: str, values: Mapping[str, Any]) -> Component:
    own = {key: value for key, value in values.items() if key not in ("type", "name") and not key.startswith("_")}
    unread = tuple(key for key, value in own.items() if _has_unread(value))
    return Component(kind, name, {key: value for key, value in own.items() if key not in unread}, unread)


def _has_unread(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_unread, value.values()))
    return isinstance(value, Unread) or (isinstance(value, list) and any(map(_has_unread, value)))


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, Mapping)]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""
