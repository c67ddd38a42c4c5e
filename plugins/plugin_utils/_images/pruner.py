# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Removes images that nothing needs, in an order that allows a kill at any step.

First each image to remove is marked, so that no channel and no swap starts to use it. Then everything is checked again,
and images that were taken into use in the meantime are kept. Then each image is removed: its artifact, its files, its
record, its mark. The next run resumes what a killed run left marked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from .._core.errors import ImageError, LockedError
from .._core.guard import Guard
from .._core.progress import Report
from .._image_model import RECORD_FILE, Image
from .._providers.contract import Provider
from .._store.base import Store
from .catalogue import Catalogue
from .channels import Channels
from .prune import ImageKey, RetentionRule, Verdict, key_of, verdicts_of
from .retirement import Retirements


@dataclass(frozen=True)
class Pruner:
    """Prunes the images of a service. Methods raise StoreError and ProviderError.

    Attributes:
        swaps: returns which swaps of any fleet refer to an image, as text, by the image's digest.
        lock: the lock that a bake of the image holds.
        now: seconds since the epoch, by the clock of the controller, which also dates the records.
        shared: whether to remove images that other accounts may use.
    """

    service: str
    provider: Provider
    store: Store
    swaps: Callable[[], Mapping[str, Sequence[str]]]
    lock: Callable[[Image], AbstractContextManager[object]]
    guard: Guard
    report: Report
    now: Callable[[], float] = time.time
    shared: bool = False

    def plan(self, rule: RetentionRule) -> list[Verdict]:
        """Return a verdict for each image of the service at this provider, newest first. Changes nothing."""
        images = [image for image in Catalogue(self.store).list(self.service) if self._holds(image.build)]
        references, being_removed = self._references(images), Retirements(self.store).pending()

        def verdicts() -> list[Verdict]:
            return verdicts_of(images, rule, references=references, now=self.now(), being_removed=being_removed)

        removable = [verdict.image for verdict in verdicts() if not verdict.kept]
        if removable:
            artifacts = [image.artifact for image in removable]
            users = self.provider.images.users(artifacts, shared=not self.shared)
            references.update((key_of(image), tuple(texts)) for image, texts in zip(removable, users, strict=True))
        return verdicts()

    def prune(self, rule: RetentionRule, by: str) -> list[Verdict]:
        """Remove the images that are not kept. Returns the verdicts as they were carried out."""
        marks = Retirements(self.store)
        for digest, build in marks.stale():
            self.guard.check()
            marks.end(digest, build)
        first = {key_of(verdict.image): verdict for verdict in self.plan(rule)}
        to_remove = {key for key, verdict in first.items() if not verdict.kept}
        for key in to_remove:
            self.guard.check()
            marks.begin(first[key].image, by)
        if not to_remove:
            return list(first.values())
        second = {key_of(verdict.image): verdict for verdict in self.plan(rule)}
        return [
            self._carry_out(verdict, second[key]) if key in to_remove else verdict
            for key, verdict in first.items()
            if key in second
        ]

    def _carry_out(self, verdict: Verdict, second: Verdict) -> Verdict:
        """Remove the image if the second verdict agrees. Returns the verdict that was carried out."""
        image = verdict.image
        if second.kept:
            if self.provider.images.present(image.artifact):  # an earlier run may have removed a part of it
                self.guard.check()
                Retirements(self.store).end(image.digest, image.build)
            return replace(second, image=image)
        try:
            with self.lock(image):
                self._remove(image)
        except LockedError as error:
            return Verdict(image, True, (error.message,))
        return verdict

    def _remove(self, image: Image) -> None:
        marks = Retirements(self.store)
        if not marks.is_pending(image):
            return  # another run removed it, and it may have been baked again
        self.guard.check()
        self.provider.images.remove(image.artifact)
        record = f"{image.key}/{RECORD_FILE}"
        for key in [*(key for key in self.store.list(f"{image.key}/") if key != record), record]:
            self.guard.check()
            self.store.delete(key)
        self.guard.check()
        marks.end(image.digest, image.build)
        self.report(f"{image.name} removed")

    def _holds(self, build: str) -> bool:
        """Whether images of this build are at the provider."""
        return self.provider.images.build(build.rpartition("-")[2]) == build

    def _references(self, images: Sequence[Image]) -> dict[ImageKey, tuple[str, ...]]:
        """What refers to each image in the store and among the instances."""
        by_digest: dict[str, list[str]] = {digest: list(texts) for digest, texts in self.swaps().items()}
        for fleet in self.provider.compute.fleets():
            for instance in self.provider.compute.list(fleet):
                by_digest.setdefault(instance.image, []).append(f"instance {instance.id} of {fleet} runs it")
        targets = self._rollback_targets()
        references = {}
        for image in images:
            channels = [f"{image.service}'s channel {channel} points at it" for channel in image.channels]
            key = key_of(image)
            references[key] = (*channels, *targets.get(key, ()), *by_digest.get(image.digest, ()))
        return references

    def _rollback_targets(self) -> dict[ImageKey, list[str]]:
        """For each channel the image that a rollback would use, of each build that was promoted to it."""
        channels = Channels(self.store)
        found: dict[ImageKey, list[str]] = {}
        for document in channels.list(self.service):
            for build in {entry["build"] for entry in document["history"]}:
                try:
                    image = channels.rollback_image(self.service, document["channel"], document["image"], build)
                except ImageError:
                    continue  # there is no such image
                found.setdefault(key_of(image), []).append(
                    f"a rollback of the channel {document['channel']} would use it"
                )
        return found
