# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the action ``image_verify`` calls: test an image if that is due, and copy it to where targets need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .._bake.current import named_image
from .._core.errors import ImageError
from .._core.task import Task
from .._definition.digest import verify_digest
from .._definition.fleet import AUTOSCALING
from .._definition.launch import SSM
from .._definition.model import Definition, Target
from .._definition.secrets import SecretFinder
from .._hosts.connection import login_keys
from .._hosts.playbook_arguments import playbook_run
from .._image_model import Image
from .._images.accounts import hand_over, missing_accounts, place_names, require_shareable
from .._images.catalogue import Catalogue
from .._images.copies import copy_image, missing_copies
from .._images.image_targets import region_of
from .._images.integrity import require_unchanged_disk
from .._providers.registry import open_group, open_provider
from .._store.base import Store
from .._store.keys import store_id
from .verify import Candidate, Verification


@dataclass(frozen=True)
class VerifyOptions:
    """Which image to verify, and how. Times are in seconds.

    Attributes:
        image: digest, at least six digits of it, or name; None for the image of the definition's current inputs.
        timeout: of all tests together.
        lock_timeout: how long to wait while another run verifies an image of the same service and target.
    """

    image: str | None = None
    force: bool = False
    timeout: float = 0.0
    lock_timeout: float = 0.0


def verify_image(
    definition: Definition, target: Target, store: Store, options: VerifyOptions, *, task: Task
) -> dict[str, Any]:
    """Test the image and record the outcome. Returns the result of the task. Raises ImageError, VerifyError."""
    image = named_image(options.image, definition, target.name, store)
    if "artifacts" in image.artifact:
        raise ImageError(
            f"{image.name} was built from a Packer template of your own; "
            "only an image that was baked from a definition can be booted here"
        )
    tested_by = verify_digest(definition, target)
    due, why = _due(image, tested_by, options.force)
    places, accounts = missing_copies(image, definition), missing_accounts(image, definition)
    result: dict[str, Any] = {
        "changed": due or bool(places or accounts),
        "due": due,
        "why": why,
        "copied": sorted(places),
        **({"accounts": place_names(accounts)} if accounts else {}),
        "image": image.as_dict(),
    }
    if task.check_mode or not result["changed"]:
        return result
    require_shareable(image, accounts, store)
    run = _Run(definition, target, store, task)
    lock = store.lock(f"verify-{definition.fleet_name(target.name)}", f"verify {image.name}", wait=options.lock_timeout)
    with lock:
        if options.lock_timeout:
            # Another run may have verified the same image meanwhile.
            image = named_image(image.digest, definition, target.name, store)
            due, result["why"] = _due(image, tested_by, options.force)
            left = [*missing_copies(image, definition), *missing_accounts(image, definition)]
            result |= {"due": due, "changed": due or bool(left)}
        if due:
            image, result["checks"] = run.verified(image, tested_by, options.timeout)
        image = run.copied(image, missing_copies(image, definition))
        image = run.handed_over(image, missing_accounts(image, definition))
    return {**result, "image": image.as_dict()}


def _due(image: Image, tested_by: str, force: bool) -> tuple[bool, str]:
    """Say whether a verification is due, and why."""
    why = "it is forced (force: true)" if force else image.verification_due(tested_by)
    return bool(why), why or f"it passed the same tests at {(image.verified or {}).get('at')}"


@dataclass(frozen=True)
class _Run:
    """The changing part, under the lock of the verification."""

    definition: Definition
    target: Target
    store: Store
    task: Task

    def verified(self, image: Image, tested_by: str, timeout: float) -> tuple[Image, list[str]]:
        """Boot and test the image. Returns it with the verification on record, and the checks that it passed."""
        places = missing_copies(image, self.definition)
        # It can only be booted in the target's own region. Other regions get it once it has passed.
        own = {region: key for region, key in places.items() if region == region_of(self.target)} if places else {}
        image = self.copied(image, own)
        image = self.handed_over(
            image, [target for target in missing_accounts(image, self.definition) if target.name == self.target.name]
        )
        outcome = self._test(image, timeout)
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        record = {"at": at, "verify": tested_by, **outcome}
        return Catalogue(self.store).mark_verified(image, record), outcome["checks"]

    def copied(self, image: Image, places: Mapping[str, str]) -> Image:
        """Copy the image to regions; ``places`` has the encryption key of each."""
        if places:
            self.task.report(f"{image.name}: copying it to {', '.join(sorted(places))}")
            self.task.guard.check()
        return copy_image(image, self.target, places, store_id=store_id(self.store), catalogue=Catalogue(self.store))

    def handed_over(self, image: Image, targets: Sequence[Target]) -> Image:
        """Let the accounts of the targets launch the image."""
        if targets:
            self.task.report(f"{image.name}: for {', '.join(place_names(targets))}")
            self.task.guard.check()
        return hand_over(image, targets, self.store)

    def _test(self, image: Image, timeout: float) -> dict[str, Any]:
        definition, target, task = self.definition, self.target, self.task
        require_unchanged_disk(image, self.store, task.report)
        references = {name: each for name, each in target.secrets.items() if each.kind != SSM}
        candidate = Candidate(
            image=image,
            definition=definition,
            target=target,
            settings=target.settings,
            secrets=SecretFinder(task.variables, task.template)(references),
            authorized_keys=login_keys(definition, target, self.store),
            group_machine=self._group_machine(),
        )
        provider = open_provider(target, self.store)
        playbook = playbook_run(task.loader)
        return Verification(candidate, provider, playbook=playbook, guard=task.guard, report=task.report).run(timeout)

    def _group_machine(self) -> Mapping[str, Any]:
        """What the launch template of a group sets, so that the image is tested on such a machine."""
        target = self.target
        if target.fleet.engine != AUTOSCALING or target.machine.launch_template:
            return {}
        group = open_group(target, self.store, self.definition.fleet_name(target.name))
        return group.machine(group.group())
