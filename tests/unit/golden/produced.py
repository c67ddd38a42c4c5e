# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data that the code derives from given input.

``ENTRIES`` maps the name of a golden file to the function that makes its content. Each takes an empty folder.
"""

from __future__ import annotations

import getpass
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from ansible_collections.immutable.infra.tests.unit.golden import adapter, adapter_store, aws_replay, plain

KEY = bytes(range(32))  # of the store
AUTHORIZED_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGoldengoldengoldengoldengoldengoldengolde alice@example.com"
AUTHORIZED = ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGolden alice@example.com",)
SECRETS = {"db": "hunter2hunter2", "mail": "/shop/mail:4"}
REFS = {"db": "/shop/db:7", "mail": "/shop/mail:4"}
DIGEST = "sha256:" + "d" * 64
FIRST = {
    "notes": "local",
    "rich": "local",
    "strategies": "rolling",
    "aws": "prod",
    "group": "prod",
}  # a target of each definition
BASE = {
    "kind": "debian",
    "source": "bookworm",
    "path": "disk.qcow2",
    "sha256": "ab" * 32,
    "architecture": "x86_64",
    "python": "3.11",
    "recipe": "x",
}


@contextmanager
def steady() -> Iterator[None]:
    """Fix the names of user and machine, and make nonces predictable."""
    numbers = iter(range(10**6))

    def token_hex(size: int = 32) -> str:
        return f"{next(numbers):0{2 * size}x}"

    environment = {"GOLDEN_DB": SECRETS["db"]}
    with (
        mock.patch.object(secrets, "token_hex", token_hex),
        mock.patch.object(getpass, "getuser", lambda: "alice"),
        mock.patch.object(socket, "gethostname", lambda: "controller"),
        mock.patch.dict("os.environ", environment),
    ):
        yield


def definition_in(folder: Path, name: str) -> Path:
    """Write the files of a given definition. A name that ends with * is a program, one with @ is a link."""
    for path, lines in plain.golden("given/definitions")[name].items():
        file = folder / path.rstrip("*@")
        file.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("@"):
            file.symlink_to(lines[0])
            continue
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        file.chmod(0o755 if path.endswith("*") else 0o644)
    return folder


def store_in(folder: Path) -> Any:
    """Create a store with a known key and Debian bases."""
    store = adapter_store.store_at(str(folder / "store"))
    store.write_blob("keys/secret", KEY)
    for suite in ("bookworm", "trixie"):
        store.write(
            f"bases/debian-{suite}/base.json",
            {**BASE, "source": suite, "python": {"bookworm": "3.11", "trixie": "3.13"}[suite]},
        )
    return store


def amis(operation: str, asked: dict[str, Any]) -> Any:
    """Answer for an account with base images."""
    if operation == "sts:GetCallerIdentity":
        return {"Account": "123456789012"}
    if operation == "ssm:GetParameter":
        return {"Parameter": {"Value": "ami-0bbbbbbbbbbbbbbb1"}}
    if operation == "ec2:DescribeImages":
        wanted = next(
            (each["Values"][0] for each in asked["Filters"] if each["Name"] == "image-id"), "ami-0bbbbbbbbbbbbbbb2"
        )
        image = {
            "ImageId": wanted,
            "Architecture": "x86_64",
            "RootDeviceName": "/dev/xvda",
            "State": "available",
            "CreationDate": "2021-01-01T00:00:00.000Z",
        }
        return {"Images": [image]}
    raise AssertionError(operation)


def definition(name: str) -> Callable[[Path], Any]:
    """Return digest and inputs of each target, as ``definition_info`` returns them."""

    def made(folder: Path) -> Any:
        definition_in(folder, name)
        store_in(folder)
        with aws_replay.answering(amis), steady():
            first = adapter.run_action("definition_info", folder, target=FIRST[name])
            assert "failed" not in first, first["msg"]
            told = {
                target: adapter.run_action("definition_info", folder, target=target)
                for target in first["definition"]["targets"]
            }
        for each in told.values():
            assert each.pop("payload")["refused"] == []  # returned since 0.3.0
            each["explain"] = adapter.explained({}, each["inputs"]) if each.get("inputs") else []
        return plain.plain(told, {str(folder): "<folder>"})

    return made


def launches(name: str) -> Callable[[Path], Any]:
    """Return fingerprint, tags, intent and recipe of each target."""

    def made(folder: Path) -> Any:
        definition_in(folder, name)
        record = plain.golden("given/images")["aws" if name == "aws" else "qemu"]
        known = REFS if name == "aws" else SECRETS
        targets = plain.golden(f"definitions/{name}")
        with steady():
            return plain.plain(
                {
                    each: adapter.launched(folder, each, record=record, key=KEY, authorized=AUTHORIZED, secrets=known)
                    for each in targets
                },
                {str(folder): "<folder>"},
            )

    return made


def guest(folder: Path) -> Any:
    settings = {"color": "red", "quoted": 'a "b" $c `d` \\', "number": 3, "deep": {"a": [1, 2]}}
    request = {
        "token": "shop-prod-0-abc-1",
        "fleet": "shop-prod",
        "slot": 0,
        "image": DIGEST,
        "artifact": {},
        "launch": "f" * 64,
        "nonce": "0123456789abcdef",
        "purpose": "fleet",
        "ports": [8080, 22],
        "authorized_keys": list(AUTHORIZED),
        "settings": settings,
        "secrets": {"db": SECRETS["db"]},
        "secret_refs": REFS,
        "machine": {},
        "tags": {"port": "8080"},
    }
    return plain.plain(
        adapter.guest_documents(
            request, {"orders": "vol-0123456789abcdef0", "logs": "vol-0123456789abcdef1"}, "eu-central-1"
        )
    )


def evidence(folder: Path) -> Any:
    consoles = plain.golden("given/consoles")
    return {name: adapter.evidence_in("\n".join(lines)) for name, lines in consoles.items()}


def tags(folder: Path) -> Any:
    texts = {"fleet": "shop-prod", "slot": "0", "health": "h" * 700, "tainted": "why " * 600, "volumes": ""}
    return plain.plain(adapter.ec2_tags(texts))


def packer(folder: Path) -> Any:
    definition_in(folder, "aws")
    base = plain.golden("given/images")["aws"]["base"]
    with aws_replay.answering(amis):
        return plain.plain(
            {
                each: adapter.packer_bake(folder, each, base=base, digest=DIGEST, store="0123456789abcdef")
                for each in ("prod", "copied")
            }
        )


# Later releases may add files and names to a guest. Those of 0.1.0 stay.
REPORT = "/usr/lib/immutable/report"
NEW_VARIABLES = {"IMMUTABLE_REACH_RELAY"}  # set only by the run that starts QEMU
NEW_GUEST_FILES = (
    "/usr/lib/immutable/aws.py",
    "/usr/lib/immutable/blank",
    "/usr/lib/immutable/grow",
    "/usr/lib/immutable/openstack",
    "/usr/lib/immutable/reown",
    "/usr/lib/immutable/sigv4.py",
    "/usr/lib/immutable/upload",
    REPORT,
    "/sshd.service.d",
    "/sshd.service.d/immutable.conf",
)
MASKED_SINCE_0_3_0 = "/etc/systemd/system/sshd-keygen@.service"


def payload(folder: Path) -> Any:
    (folder / "empty").mkdir()
    definition_in(folder / "definition", "rich")
    found = adapter.bake_payload(folder / "definition", DIGEST, folder / "empty")
    return plain.plain({**found, "names": [name for name in found["names"] if not name.endswith(NEW_GUEST_FILES)]})


TEMPLATE: dict[str, Any] = {
    "service": "own",
    "version": "1",
    "template": "template.pkr.hcl",
    "vars": {"size": 3, "list": ["a"]},
    "var_files": ["vars/a.json"],
    "secrets": {"password": "never an input"},
    "extra": ["more", "more/b.txt"],
}


def template_in(folder: Path) -> None:
    """Write a user's own template with the files that it uses."""
    files = {"template.pkr.hcl": "source {}", "scripts/a.sh": "echo", "vars/a.json": "{}", "more/b.txt": "b"}
    for name, text in {**files, "packer_cache/x": "x"}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    (folder / "scripts/a.sh").chmod(0o755)
    (folder / "scripts/link").symlink_to("a.sh")


def template(folder: Path) -> Any:
    template_in(folder)
    nothing = {"secrets": {}, "var_files": [], "extra": []}
    whole = adapter.template_bake(folder, {**TEMPLATE, **nothing, "template": "scripts"})
    return plain.plain({"file": adapter.template_bake(folder, TEMPLATE), "folder": whole})


def names(folder: Path) -> Any:
    """Return the paths and marks in guest scripts, and the collection's own environment variables."""
    root = Path(adapter.__file__).parents[3]
    patterns = {
        "guest": r"\$run/[\w.]+|/run/immutable[\w./-]*|/usr/lib/immutable[\w./-]*|IMMUTABLE-[A-Z]+|opt/immutable/\w+"
    }
    told: dict[str, Any] = {}
    captured = plain.golden("guest/names")["guest"]
    for file in sorted(each for each in (root / "roles/seal/files").rglob("*") if each.is_file()):
        if file.as_posix().endswith(NEW_GUEST_FILES):
            continue
        name = file.relative_to(root).as_posix()
        marks = set(re.findall(patterns["guest"], _code(file)))
        if "/usr/lib/immutable/report" in _code(file) or "$library/report" in _code(file):
            marks |= set(re.findall(patterns["guest"], _code(root / f"roles/seal/files/launch{REPORT}")))
        if name in captured:  # later releases add names, and keep the captured ones
            told[name] = sorted(marks & set(captured[name]))
    script = (root / "roles/seal/files/seal/usr/lib/immutable/seal").read_text(encoding="utf-8").splitlines()
    said = [found[0] for line in script if (found := re.search(r"IMMUTABLE-SEALED.*|^{.sealed.*", line))]
    sources = [
        each for part in ("plugins", "roles", "playbooks") for each in (root / part).rglob("*") if each.suffix == ".py"
    ]
    variables = {
        one for each in sources for one in re.findall(r"\bIMMUTABLE_[A-Z_]+", each.read_text(encoding="utf-8"))
    }
    return {"guest": told, "said": said, "environment": sorted(variables - NEW_VARIABLES)}


def _code(script: Path) -> str:
    lines = script.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def sealed(folder: Path) -> Any:
    """Seal a root. Return every generated file; those that the role copies are only named."""
    root, role = folder / "root", Path(adapter.__file__).parents[3] / "roles/seal/files"
    for name in ("etc/fstab", "etc/shadow", "etc/cloud/x", "var/cache/shop/deep dir/x", "var/log/x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(
            "root:secret:1\n"
            if name.endswith("shadow")
            else "/dev/sda1 / ext4 defaults 0 1\n"
            if name.endswith("fstab")
            else "x\n"
        )
    data = [{"name": "uploads", "mount": "/var/lib/shop"}, {"name": "the-index", "mount": "/var/lib/index"}]
    spec = {
        "service": "shop",
        "version": "1.4.2",
        "digest": DIGEST,
        "shell": "restricted",
        "writable": ["/var/cache/shop", "/srv/a"],
        "data": data,
    }
    paths = adapter.sealed(root, role, spec)
    laid = {
        "/" + each.relative_to(role / part).as_posix()
        for part in ("launch", "seal")
        for each in (role / part).rglob("*")
        if each.is_file()
    }
    made = {path: _written(root / path.lstrip("/"), root) for path in paths if path not in laid}
    assert made.pop(MASKED_SINCE_0_3_0) == {"link": "/dev/null"}
    earlier = [path for path in laid if not path.endswith(NEW_GUEST_FILES)]
    return {"laid": sorted(earlier), "made": _without_owner(plain.plain(made))}


# Logs in memory have a size, and a space in a path is written as systemd reads it.
SINCE_0_3_0 = {",size=20%": "", '"/var/cache/shop/deep dir"': r"/var/cache/shop/deep\x20dir"}

MATCHED_SINCE_0_3_0 = ("Kind=", "Driver=")  # by 80-immutable.network


def _written(path: Path, root: Path) -> Any:
    if path.is_symlink():
        return {"link": str(path.readlink())}
    return (
        [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        if path.is_file()
        else "removed"
    )


def _without_owner(made: Any) -> Any:
    """Replace the ids of the current user, who owns the root in this test."""
    mine = {f"uid={os.getuid()},gid={os.getgid()}": "uid=UID,gid=GID", f" {os.getuid()} {os.getgid()} -": " UID GID -"}
    mine |= SINCE_0_3_0
    return {
        path: [_replaced(line, mine) for line in text if not line.startswith(MATCHED_SINCE_0_3_0)]
        if isinstance(text, list)
        else text
        for path, text in made.items()
    }


def _replaced(line: str, texts: Mapping[str, str]) -> str:
    for old, new in texts.items():
        line = line.replace(old, new)
    return line


ENTRIES: dict[str, Callable[[Path], Any]] = {
    **{f"definitions/{name}": definition(name) for name in ("notes", "rich", "strategies", "aws", "group")},
    **{f"launches/{name}": launches(name) for name in ("notes", "rich", "strategies", "aws")},
    "guest/documents": guest,
    "guest/evidence": evidence,
    "guest/sealed": sealed,
    "guest/names": names,
    "tags/ec2": tags,
    "bakes/packer": packer,
    "bakes/payload": payload,
    "bakes/template": template,
}
