# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take over from a Packer template what a definition has, and say of everything else what becomes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from .._core.errors import ImmutableError
from .._definition.model import ProviderName
from .draft import Draft
from .packer_template import Component, Template, resolved
from .provisioners import take_provisioners
from .service import ServiceOptions

_PYTHON = "3.11"
_CHECK_PYTHON = "check the version of Python in the base (python3 --version), which nothing in the template says"
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")
_DECIMAL = re.compile(r"[0-9]{1,9}")
_MOST_TAGS = 50  # that a resource on AWS can have
_HAS_REGISTRY = re.compile(r"[^/]*[.:][^/]*/")
# What the bake itself does for its build machine. Nothing in a definition replaces these.
_OF_BUILD_MACHINE = (
    "the bake decides this about its own build machine; no key is needed (on aws, build.options has more of them)"
)
PROVIDERS: Mapping[str, ProviderName] = {"qemu": "qemu", "docker": "container", "amazon-ebs": "aws"}  # by builder
# Builders whose provider needs more than a template has, so that the user writes the target.
_WRITTEN_BY_HAND: Mapping[str, ProviderName] = {"openstack": "openstack"}


def chosen_builder(template: Template, name: str) -> Component | None:
    """Return the builder to take over: the one that the user names, else the first that a provider replaces.

    Raises ImmutableError if there is none with that name.
    """
    if name:
        for builder in template.builders:
            if name in (str(builder), builder.name):
                return builder
        known = ", ".join(map(str, template.builders)) or "none"
        raise ImmutableError(f"build: the template has no builder {name!r} (it has: {known})")
    return next((builder for builder in template.builders if builder.kind in PROVIDERS), None)


def take_template(draft: Draft, template: Template, builder: Component | None, options: ServiceOptions) -> None:
    """Take over the builder and the provisioners. ``draft`` has its targets already."""
    if builder is None:
        draft.leave("the builder", f"no builder of the template is one of {', '.join(PROVIDERS)}; the base is Debian")
    for other in template.builders:
        if other is not builder:
            draft.leave(f"builder {other}", _other_builder(other))
    if builder is not None:
        _TAKERS.get(builder.kind, _take_nothing)(_Taking(draft, template, builder, options))
    take_provisioners(draft, template, builder)
    for kind in template.post_processors:
        draft.leave(
            f"post-processor {kind}", "the store keeps images with their manifests, and AMIs are registered by the bake"
        )


def _other_builder(builder: Component) -> str:
    if builder.kind in _WRITTEN_BY_HAND:
        return (
            f"write a target with provider: {_WRITTEN_BY_HAND[builder.kind]} and its base into the definition yourself"
        )
    if builder.kind not in PROVIDERS:
        return "no provider of this collection runs its artifacts"
    return f"another target with provider: {PROVIDERS[builder.kind]} can replace it; the option build chooses it"


class _Taking:
    """The builder while it is taken over. Names that were looked at are not reported as left."""

    def __init__(self, draft: Draft, template: Template, builder: Component, options: ServiceOptions) -> None:
        self.draft = draft
        self.folder = template.folder
        self.builder = builder
        self.options = options
        self._seen: set[str] = set()

    def what(self, name: str) -> str:
        return f"builder {self.builder}, {name}"

    def value(self, name: str) -> Any:
        """The value, or None if there is none or only Packer knows it, which is reported."""
        self._seen.add(name)
        if name in self.builder.unread:
            self.draft.leave(self.what(name), "only Packer knows the value of this expression; set the key yourself")
        return self.builder.values.get(name)

    def take(self, name: str, keys: tuple[str, ...], convert: Callable[[Any], Any] = lambda value: value) -> None:
        value = self.value(name)
        if value is not None:
            self.draft.take(keys, convert(value), self.what(name))

    def leave_rest(self) -> None:
        rest = sorted({*self.builder.values, *self.builder.unread} - self._seen)
        if rest:
            self.draft.leave(f"builder {self.builder}, {', '.join(rest)}", _OF_BUILD_MACHINE)


def _take_nothing(taking: _Taking) -> None:
    taking.draft.leave(f"builder {taking.builder}", _other_builder(taking.builder))


def _take_qemu(taking: _Taking) -> None:
    draft = taking.draft
    if taking.value("disk_image") is True:
        _take_disk(taking)
    elif taking.value("iso_url") or taking.value("iso_urls"):
        taking.value("iso_checksum")
        draft.leave(
            taking.what("iso_url"),
            "an installer cannot be a base; the base is Debian, or set image.base to a disk image (qcow2 or url)",
        )
    target = _target_of(draft, "qemu")
    if target:
        taking.take("memory", ("targets", target, "build", "memory"), lambda value: f"{value}M")
        taking.take("cpus", ("targets", target, "build", "cpus"), _number)
    taking.leave_rest()


def _take_disk(taking: _Taking) -> None:
    urls = taking.value("iso_urls")
    url = taking.value("iso_url") or (urls[0] if isinstance(urls, list) and urls else None)
    checksum = _SHA256.fullmatch(str(taking.value("iso_checksum") or ""))
    if not isinstance(url, str):
        return
    base: dict[str, str] = {"url": url}
    if "://" not in url:
        path = resolved(taking.folder / url)
        if path is None:
            taking.draft.leave(taking.what("iso_url"), "it is no path of a file")
            return
        base = {"qcow2": str(path)}
    if checksum:
        base["checksum"] = f"sha256:{checksum.group(1).lower()}"
    taking.draft.take(("image", "base"), {**base, "python": _PYTHON}, taking.what("iso_url"), _CHECK_PYTHON)


def _take_docker(taking: _Taking) -> None:
    draft, image = taking.draft, taking.value("image")
    if isinstance(image, str) and "@sha256:" in image:
        name = image if _HAS_REGISTRY.match(image) else f"docker.io/{'' if '/' in image else 'library/'}{image}"
        repository, _at, digest = name.partition("@")
        path, _colon, _tag = (
            repository.rpartition(":") if ":" in repository.rpartition("/")[2] else (repository, "", "")
        )
        base = {"container": f"{path or repository}@{digest}", "python": _PYTHON}
        draft.take(("image", "base"), base, taking.what("image"), _CHECK_PYTHON)
    elif image is not None:
        draft.leave(
            taking.what("image"),
            "a tag can move, and a base cannot; set image.base to container with the registry and the digest "
            "(podman image inspect shows it); until then, the base is Debian",
        )
    changes = taking.value("changes")
    for change in changes if isinstance(changes, list) else []:
        _take_change(taking, str(change))
    taking.leave_rest()


def _take_change(taking: _Taking, change: str) -> None:
    """One instruction of a Dockerfile."""
    draft = taking.draft
    word, _space, rest = change.strip().partition(" ")
    word, rest = word.upper(), rest.strip()
    what = taking.what(f"changes, {word}")
    alone = {target["provider"] for target in draft.document["targets"].values()} == {"container"}
    if word in ("CMD", "ENTRYPOINT") and alone and not taking.options.command:
        command = _exec_form(rest)
        if not command:
            draft.leave(what, "only the form with a list can be taken over; set image.command")
        elif "command" in draft.document["image"]:
            draft.leave(what, "ENTRYPOINT and CMD together are one command; complete image.command")
        else:
            draft.take(("image", "command"), command, what)
    elif word == "EXPOSE" and not draft.document.get("health"):
        port = rest.partition("/")[0]
        draft.take(("health",), {"http": {"port": _number(port), "path": "/"}}, what, "check the path of the probe")
    elif word == "ENV":
        draft.leave(what, "set what differs between targets in settings of the target, all else in provision.yml")
    else:
        draft.leave(what, "it has no meaning for a sealed container, or the definition says it elsewhere")


def _take_amazon(taking: _Taking) -> None:
    """A target on AWS needs a network and a target group, which no template has. A group that runs gives both."""
    draft = taking.draft
    target = _target_of(draft, "aws")
    if not target:
        draft.leave(
            f"builder {taking.builder}",
            "a target on AWS needs subnets and a target group, which no template has; name auto_scaling_group or "
            "target_group as well",
        )
        return
    base = _ami(taking)
    if base:
        draft.take(("image", "base"), {"ami": base, "python": _PYTHON}, taking.what("source_ami"), _CHECK_PYTHON)
    build = ("targets", target, "build")
    taking.take("instance_type", (*build, "type"))
    taking.take("ssh_username", (*build, "ssh_username"))
    taking.take("subnet_id", (*build, "subnet"))
    taking.take("encrypt_boot", (*build, "encrypt"))
    taking.take("kms_key_id", (*build, "kms_key"))
    if taking.value("region") != draft.document["targets"][target].get("region"):
        taking.take("region", (*build, "region"))
    tags = taking.value("tags")
    for number, (key, value) in enumerate(sorted(tags.items()) if isinstance(tags, Mapping) else ()):
        if number == _MOST_TAGS:
            draft.leave(taking.what(f"tag {key} and those after it"), f"{_MOST_TAGS} others were taken over")
            break
        draft.take(("targets", target, "tags", key), value, taking.what(f"tag {key}"))
    taking.leave_rest()


def _ami(taking: _Taking) -> Any:
    ami, chosen = taking.value("source_ami"), taking.value("source_ami_filter")
    if ami or not isinstance(chosen, Mapping):
        return ami
    filters = chosen.get("filters", {})
    owners = chosen.get("owners") or [filters.get("owner-id") or filters.get("owner-alias")]
    others = sorted({*filters} - {"name", "owner-id", "owner-alias"})
    if others:
        taking.draft.leave(
            taking.what(f"source_ami_filter, {', '.join(others)}"), "an AMI is chosen by its owner and name alone"
        )
    return {"owner": owners[0], "name": filters.get("name")}


_TAKERS: dict[str, Callable[[_Taking], None]] = {
    "qemu": _take_qemu,
    "docker": _take_docker,
    "amazon-ebs": _take_amazon,
}


def _target_of(draft: Draft, provider: str) -> str:
    targets = draft.document["targets"]
    return next((name for name, target in targets.items() if target["provider"] == provider), "")


def _number(value: Any) -> Any:
    """Numbers may be text in a template."""
    return int(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else value


def _exec_form(text: str) -> list[str]:
    try:
        words = json.loads(text)
    except ValueError:
        return []
    return words if isinstance(words, list) and words and all(isinstance(word, str) for word in words) else []
