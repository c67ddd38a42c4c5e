# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the action ``definition_init`` calls: write a first definition with its playbooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...module_utils._packer.errors import PackerError
from ...module_utils._packer.runner import Packer
from ...module_utils._packer.variables import is_hcl2
from .._aws.clients import Account
from .._core.task import Task
from .._definition.load import DEFINITION_FILE
from .draft import PROVISION, VERIFY, Draft
from .from_group import take_group
from .from_template import PROVIDERS, chosen_builder, take_template
from .packer_template import Template, read_template
from .playbooks import provision_text, verify_text
from .running_group import RunningGroup, read_scaling_group, read_target_group
from .service import LOCAL_PROVIDERS, ServiceOptions, add_health, add_service, add_targets, begin
from .write import check_loads, missing_files, path_of, write_files
from .yaml_text import comment, comments, outside, yaml_of

INSPECT_TIMEOUT = 120.0  # seconds
REFERENCE = "https://github.com/immutable-infra/immutable.infra/blob/main/docs/reference/definition.md"


@dataclass(frozen=True)
class Sources:
    """What a definition is written from, in addition to the options.

    Attributes:
        template: a Packer template, or None.
        build: the name of its builder; "" for the first that can be taken over.
        executable: Packer.
        scaling_group, target_group: the name of a group on AWS, or ""; at most one of them.
        account: where it is.
    """

    template: Path | None = None
    build: str = ""
    executable: str = "packer"
    scaling_group: str = ""
    target_group: str = ""
    account: Account = field(default_factory=Account)


def account_of(options: Mapping[str, Any]) -> Account:
    """Return the account that the options of a task name."""
    return Account(**{name: options[name] or "" for name in ("region", "profile", "role", "endpoint_url")})


def write_definition(folder: Path, options: ServiceOptions, sources: Sources, *, task: Task) -> dict[str, Any]:
    """Write a definition from the options and what they name. Returns the result of the task. Raises ImmutableError."""
    draft = Draft(folder, _origin(sources))
    template: Template | None = None
    if sources.template:
        values = _reported_values(draft, sources.template, sources.executable)
        template = read_template(sources.template, values)
    builder = chosen_builder(template, sources.build) if template else None
    group = _group(sources)
    begin(draft, options, template.name if template else group.name if group else "")
    if group:
        take_group(draft, group, sources.account)
    else:
        provider = PROVIDERS.get(builder.kind, "") if builder else ""
        add_targets(draft, options, default=(provider if provider in LOCAL_PROVIDERS else "container",))
    if template:
        take_template(draft, template, builder, options)
    add_health(draft, options)
    add_service(draft, options)
    return write_draft(draft, task)


def _origin(sources: Sources) -> str:
    named = {"Packer template": sources.template and sources.template.name}
    named |= {"Auto Scaling group": sources.scaling_group, "target group": sources.target_group}
    found = [f"the {kind} {outside(name)}" for kind, name in named.items() if name]
    return " and ".join(found) or "the options of the task"


def _group(sources: Sources) -> RunningGroup | None:
    if sources.scaling_group:
        return read_scaling_group(sources.account, sources.scaling_group)
    return read_target_group(sources.account, sources.target_group) if sources.target_group else None


def _reported_values(draft: Draft, template: Path, executable: str) -> Mapping[str, str]:
    """The values of an HCL2 template's variables, as Packer reports them. Without Packer, the text alone is read."""
    if not is_hcl2(str(template)):
        return {}
    try:
        inspection = Packer(executable).inspect(template, timeout=INSPECT_TIMEOUT)
    except PackerError:  # its words can show lines of the template, which can have secrets
        draft.leave(
            "the values of variables",
            "their defaults are used, because packer inspect fails; run it to see why",
        )
        return {}
    return {variable.name: variable.default for variable in inspection.variables if variable.default is not None}


def write_draft(draft: Draft, task: Task) -> dict[str, Any]:
    """Write the files of a draft, unless the task runs in check mode. Returns the result of the task.

    Raises ImmutableError if a file stands in the way or the definition would be wrong.
    """
    texts = texts_of(draft)
    check_loads(texts)
    missing = missing_files(draft.folder, texts)
    task.guard.check()
    if missing and not task.check_mode:
        write_files(draft.folder, texts, missing)
    result: dict[str, Any] = {
        "changed": bool(missing),
        "path": path_of(draft.folder),
        "files": list(texts),
        "written": missing,
        "found": [finding.as_dict() for finding in draft.findings],
        "left": draft.left,
        "to_check": draft.to_check,
        "next": release_command(draft),
    }
    if task.diff:
        result["diff"] = [_diff(draft.folder / name, texts[name]) for name in missing]
    return result


def texts_of(draft: Draft) -> dict[str, str]:
    """Return the text of each file by its path below the folder. Raises ImmutableError."""
    service = draft.document["service"]
    return {
        DEFINITION_FILE: _definition_text(draft),
        PROVISION: provision_text(service, draft.tasks, draft.imports, draft.steps),
        VERIFY: verify_text(service, draft.document["health"]),
        **draft.files,
    }


def release_command(draft: Draft) -> str:
    """Return the command that releases the service, for a shell in the definition's folder."""
    target = next(iter(draft.document["targets"]))
    variables = {"definition": DEFINITION_FILE, "store": "$HOME/.immutable", "channel": "prod"}
    if target != "local":
        variables["target"] = target
    return " ".join(
        [
            "ansible-playbook immutable.infra.release",
            *(f"-e immutable_{name}={value}" for name, value in variables.items()),
        ]
    )


def _definition_text(draft: Draft) -> str:
    text = comment(f"The definition of {draft.document['service']}, written from {draft.origin}. You can edit it.")
    text += comment(f"Keys: {REFERENCE}")
    text += comment("Release the service, from this folder:") + f"#   {release_command(draft)}\n"
    if draft.left:
        text += "#\n" + comment("Not taken over:") + comments(draft.left)
    if draft.to_check:
        text += "#\n" + comment("Check these:") + comments(draft.to_check)
    return text + yaml_of(draft.document, flow=True)


def _diff(path: Path, text: str) -> dict[str, str]:
    return {"before_header": str(path), "after_header": str(path), "before": "", "after": text}
