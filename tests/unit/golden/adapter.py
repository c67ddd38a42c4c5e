# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Adapt the code to the golden tests: plain data in, plain data out.

Only the ``adapter`` files import the code. A rename in the code needs an edit here and nowhere else in this folder.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible_collections.immutable.infra.plugins.action import (
    channel,
    channel_info,
    definition_info,
    fleet,
    fleet_info,
    host_mark,
    image,
    image_info,
    image_verify,
)
from ansible_collections.immutable.infra.plugins.doc_fragments import attributes, options, packer
from ansible_collections.immutable.infra.plugins.module_utils._seal import Spec, seal
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builder import BakeJob
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.base_disk import fetch_disk
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.ebs import builder_settings
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.memory import private_memory
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.payload import make_payload
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.user_template import TemplateJob, template_inputs
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.variables import BakeVariables
from ansible_collections.immutable.infra.plugins.plugin_utils._core.action import Context
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.digest import digest_of
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.explain import compare, explain_lines
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.secrets import SecretFinder
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ports import NoGuard
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.recipes import payload_of, swap_request
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.channels import Channels
from ansible_collections.immutable.infra.plugins.plugin_utils._images.copies import image_tags
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import LaunchRequest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.tags import from_aws, to_aws
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.evidence import parse_evidence
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_document import (
    launch_document,
    members,
    user_data,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.registry import open_provider
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import open_store

ACTIONS = {
    "channel": channel,
    "channel_info": channel_info,
    "definition_info": definition_info,
    "fleet": fleet,
    "fleet_info": fleet_info,
    "host_mark": host_mark,
    "image": image,
    "image_info": image_info,
    "image_verify": image_verify,
}
FRAGMENTS = {"attributes": attributes, "options": options, "packer": packer}
# Private files that are sent and read within one bake, so their names may change. 0.1.0 sent one: seal.py.
SEAL_CODE = (
    "_listing.py",
    "_mounts.py",
    "_residue.py",
    "_seal.py",
    "_seal_accounts.py",
    "_seal_changes.py",
    "_seal_cloud.py",
    "_seal_container.py",
    "_seal_paths.py",
    "_seal_selinux.py",
    "_seal_services.py",
    "_seal_text.py",
    "_seal_tmpfs.py",
    "_seal_volumes.py",
)
PAYLOAD = ("artifact", "ports", "authorized_keys", "settings", "secrets", "secret_refs", "machine", "tags")


def run_action(
    name: str, folder: Path, *, check_mode: bool = False, variables: Mapping[str, Any] | None = None, **asked: Any
) -> dict[str, Any]:
    """Run one task of a controller-side module in this process and return its result, failed or not.

    Options that are not given have their documented defaults. Variables of hosts that 0.1.0 did not have are left out.
    """
    given = {**_defaults(name), "definition": str(folder), "store": str(folder / "store")}
    context = Context(
        report=lambda _line: None,
        guard=NoGuard(),
        check_mode=check_mode,
        diff=False,
        variables=dict(variables or {}),
        template=lambda value: value,
        loader=DataLoader(),
        folder=folder,
    )
    action = ACTIONS[name].ActionModule
    try:
        result = dict(action.work(action.__new__(action), {**given, **asked}, context))
        for host in result.get("hosts", ()):
            if isinstance(host, dict):
                host.get("variables", {}).pop("ansible_ssh_args", None)
        return result
    except ImmutableError as error:
        return {**error.details, "failed": True, "msg": error.message}


def _defaults(name: str) -> dict[str, Any]:
    """Return the default of each documented option of a module."""
    documents = [
        yaml.safe_load(
            (Path(options.__file__).parents[1] / f"modules/{name}.py").read_text(encoding="utf-8").split('"""')[1]
        )
    ]
    for fragment in documents[0].get("extends_documentation_fragment", []):
        _namespace, _collection, file, *part = fragment.split(".")
        documents.append(
            yaml.safe_load(getattr(FRAGMENTS[file].ModuleDocFragment, (part or ["documentation"])[0].upper()))
        )
    return {
        option: spec.get("default")
        for document in documents
        for option, spec in (document.get("options") or {}).items()
    }


# Definitions and launches.


def launched(
    folder: Path,
    target: str,
    record: Mapping[str, Any],
    key: bytes,
    authorized: Sequence[str],
    secrets: Mapping[str, str],
) -> dict[str, Any]:
    """Return the swap of a target to an image: its intent, its launch payload and its recipe."""
    definition = load_definition(folder)
    chosen = definition.target(target)
    known = {reference.name: secrets[name] for name, reference in chosen.secrets.items()}
    found = SecretFinder(known, lambda value: value, lambda names: {name: known[name] for name in names})
    request = swap_request(
        definition, chosen, Image.from_dict(record), key=key, resolve=found, authorized_keys=tuple(authorized)
    )
    payload = {name: getattr(request.payload, name) for name in PAYLOAD}
    return {
        "service": request.service,
        "target": request.target,
        "intent": request.intent.as_dict(),
        "payload": payload,
        "recipe": dict(request.recipe),
    }


def explained(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return explain_lines(compare(before, after))


def relaunched(recipe: Mapping[str, Any], record: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """Return the payload of instances that are launched from a stored recipe."""
    payload = payload_of(
        recipe, Image.from_dict(record), lambda references: {name: secrets[name] for name in references}
    )
    return {name: getattr(payload, name) for name in PAYLOAD}


def guest_documents(request: Mapping[str, Any], volumes: Mapping[str, str], region: str) -> dict[str, Any]:
    """Return the launch document of QEMU and of EC2: mode and text of each member."""
    lists = {"ports", "authorized_keys"}
    asked = LaunchRequest(**{name: tuple(value) if name in lists else value for name, value in request.items()})
    on_ec2 = LaunchRequest(**{**asdict(asked), "secrets": {}})
    return {"qemu": members_of(launch_document(members(asked))), "ec2": members_of(user_data(on_ec2, volumes, region))}


def members_of(document: bytes) -> dict[str, Any]:
    with tarfile.open(fileobj=io.BytesIO(document)) as archive:
        return {
            each.name: {"mode": f"{each.mode:04o}", "text": archive.extractfile(each).read().decode()}
            for each in archive
        }  # type: ignore[union-attr]


def evidence_in(console: str) -> dict[str, str] | None:
    # Later releases read the first evidence of one boot with the nonce of its launch, and only at the start of a line.
    one_line_each = console.replace(" IMMUTABLE-SEALED", "\nIMMUTABLE-SEALED")
    nonces = re.findall(r'"nonce":"(\w+)"', console)
    found = parse_evidence(one_line_each, nonces[-1] if nonces else "")
    return {name: getattr(found, name) for name in ("digest", "nonce", "host_key", "shell")} if found else None


def ec2_tags(texts: Mapping[str, str]) -> dict[str, Any]:
    tags = to_aws(texts)
    return {"tags": tags, "read": from_aws(tags)}


def sealed(root: Path, files: Path, spec: Mapping[str, Any]) -> list[str]:
    """Seal a tree as the role does on the build machine. Return the changed paths."""
    data = tuple((each["name"], each["mount"]) for each in spec["data"])
    folders = [str(files / name) for name in ("launch", "seal")]
    return seal(
        str(root),
        folders,
        Spec(
            spec["service"],
            spec["version"],
            digest=spec["digest"],
            shell=spec["shell"],
            writable=tuple(spec["writable"]),
            data=data,
        ),
    )


# Bakes.


def packer_bake(folder: Path, target: str, base: Mapping[str, Any], digest: str, store: str) -> dict[str, Any]:
    """Return the builder that Packer gets for AWS, and the tags of the image."""
    definition = load_definition(folder)
    job = BakeJob(
        definition,
        definition.target(target),
        digest=digest,
        build="aws-123456789012-x86_64",
        inputs={},
        base=base,
        variables=BakeVariables({}, {}, {}),
    )
    tags = image_tags(digest, definition.service, definition.version, store)
    settings = builder_settings(job, Clients(job.target.build_account), tags, (1, 11))
    # 0.1.0 let Packer encrypt a copy of the AMI.
    build = job.target.build
    settings |= {"encrypt_boot": build.encrypt, **({"kms_key_id": build.kms_key} if build.kms_key else {})}
    settings.pop("ssh_disable_agent_forwarding", None)  # 0.1.0 forwarded the operator's agent
    settings.pop("temporary_security_group_source_public_ip", None)  # 0.1.0 opened the build machine to the world
    return {"tags": tags, "builder": settings}


def bake_payload(folder: Path, digest: str, empty: Path) -> dict[str, Any]:
    """Return the members of the payload for the build machine, and the text of each generated one."""
    payload = make_payload(
        load_definition(folder),
        digest=digest,
        ansible=empty,
        collections=None,
        variables={"port": 8080},
        marker="immutable-payload-0123456789abcdef",
    )
    with tarfile.open(fileobj=io.BytesIO(payload.archive)) as archive:
        own = ("run.py", "site.json", "inventory.json", "vars.json")
        texts = {name: archive.extractfile(name).read().decode() for name in own}  # type: ignore[union-attr]
        made = {name: text if name == "run.py" else json.loads(text) for name, text in texts.items()}
        return {"folder": payload.folder, "names": _payload_names(archive), "made": made}


def _payload_names(archive: tarfile.TarFile) -> list[str]:
    """Return the names of the members, with the files of ``SEAL_CODE`` as 0.1.0 named them, and no containers."""
    code = "own/ansible_collections/immutable/infra/plugins/module_utils/"
    private = {code + name for name in SEAL_CODE}
    assert private <= set(archive.getnames())
    role = "own/ansible_collections/immutable/infra/roles/seal"
    new = tuple(f"{role}/{folder}" for folder in ("vars", "files/container", "files/services"))
    later = {name for name in archive.getnames() if name.startswith(new)}
    return sorted([*(set(archive.getnames()) - private - later), f"{code}seal.py"])


def template_bake(folder: Path, order: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of a user's own template, and their digest."""
    paths = {name: tuple(folder / path for path in order[name]) for name in ("var_files", "extra")}
    inputs = template_inputs(
        TemplateJob(
            order["service"],
            order["version"],
            folder / order["template"],
            order["vars"],
            secrets=order["secrets"],
            **paths,
        )
    )
    return {"inputs": inputs, "digest": digest_of(inputs)}


def memory_folder(name: str, fallback: Path) -> Path:
    with private_memory(name, fallback) as folder:
        return folder


def fetched(folder: Path, target: str) -> str:
    """Fetch the base of a target into the store. Return its path there."""
    chosen = load_definition(folder).target(target)
    return str(fetch_disk(chosen.base, open_store(folder / "store"), folder).relative_to(folder / "store"))


def promoted(store: Any, record: Mapping[str, Any], channel_name: str) -> None:
    Channels(store).promote(record["service"], channel_name, Image.from_dict(record), by="alice")


def detach(folder: Path, target: str, volumes: Sequence[str]) -> None:
    open_provider(load_definition(folder).target(target), open_store(folder / "store")).volumes.detach(volumes)


def remove_volumes(folder: Path, target: str, volumes: Sequence[str]) -> None:
    open_provider(load_definition(folder).target(target), open_store(folder / "store")).volumes.remove(volumes)
