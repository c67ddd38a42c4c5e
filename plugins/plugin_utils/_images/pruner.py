# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Remove images that nothing needs any more, in an order that a kill can cut anywhere.

First every image that is to go is marked, so that no channel and no swap takes it up; then all is looked at once more, and what somebody took up in
between stays. Then each one goes: its artifact, its files, its record, its mark. What a killed run left marked is gone on with by the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from .._core.errors import ImageError, LockedError
from .._core.guard import Guard
from .._core.progress import Report
from .._image_model import Image
from .._providers.contract import Provider
from .._store.base import Store
from .catalogue import RECORD, Catalogue
from .channels import Channels
from .prune import Key, Rule, Verdict, judge, key_of
from .retirement import Retirements


@dataclass(frozen=True)
class Pruner:
    """Raises StoreError, ProviderError."""

    service: str
    provider: Provider
    store: Store
    swaps: Callable[[], Mapping[str, Sequence[str]]]  # which fleets' swaps refer to an image, in words, by its digest
    lock: Callable[[Image], AbstractContextManager[object]]  # the one that a bake of the image holds
    guard: Guard
    report: Report
    now: Callable[[], float] = time.time  # records are dated by the controller's clock, not by the provider's
    shared: bool = False  # whether images go that other accounts may use

    def look(self, rule: Rule) -> list[Verdict]:
        """A verdict for each image of the service that the provider holds, the newest first. Changes nothing."""
        images = [image for image in Catalogue(self.store).list(self.service) if self._holds(image.build)]
        begun = Retirements(self.store).begun()
        held = self._held(images)
        going = [each.image for each in judge(images, held, rule, self.now(), begun) if not each.stays]
        users = self.provider.images.users([image.artifact for image in going], shared=not self.shared) if going else []
        used = {key_of(image): tuple(words) for image, words in zip(going, users, strict=True)}
        return judge(images, {**held, **used}, rule, self.now(), begun)

    def prune(self, rule: Rule, by: str) -> list[Verdict]:
        """Remove what may go. Returns the verdicts as they were carried out."""
        marks = Retirements(self.store)
        for digest, build in marks.left():
            self.guard.check()
            marks.end(digest, build)
        first = {key_of(each.image): each for each in self.look(rule)}
        going = {key for key, each in first.items() if not each.stays}
        for key in going:
            self.guard.check()
            marks.begin(first[key].image, by)
        if not going:
            return list(first.values())
        second = {key_of(each.image): each for each in self.look(rule)}
        return [
            self._carried_out(verdict, second[key]) if key in going else verdict
            for key, verdict in first.items()
            if key in second
        ]

    def _carried_out(self, verdict: Verdict, again: Verdict) -> Verdict:
        image = verdict.image
        if again.stays:
            if self.provider.images.present(image.artifact):  # or half of it went with an earlier run
                self.guard.check()
                Retirements(self.store).end(image.digest, image.build)
            return replace(again, image=image)
        try:
            with self.lock(image):
                self._remove(image)
        except LockedError as error:
            return Verdict(image, True, (error.message,))
        return verdict

    def _remove(self, image: Image) -> None:
        marks = Retirements(self.store)
        if not marks.is_begun(image):
            return  # another run removed it, and perhaps it was baked anew
        self.guard.check()
        self.provider.images.remove(image.artifact)
        record = f"{image.key}/{RECORD}"
        for key in [*(key for key in self.store.list(f"{image.key}/") if key != record), record]:
            self.guard.check()
            self.store.delete(key)
        self.guard.check()
        marks.end(image.digest, image.build)
        self.report(f"{image.name} removed")

    def _holds(self, build: str) -> bool:
        return self.provider.images.build(build.rpartition("-")[2]) == build

    def _held(self, images: Sequence[Image]) -> dict[Key, tuple[str, ...]]:
        """What refers to each image in the store and among the instances."""
        by_digest: dict[str, list[str]] = {digest: list(words) for digest, words in self.swaps().items()}
        for fleet in self.provider.compute.fleets():
            for instance in self.provider.compute.list(fleet):
                by_digest.setdefault(instance.image, []).append(f"instance {instance.id} of {fleet} runs it")
        targets = self._rollback_targets()
        held = {}
        for image in images:
            words = [f"{image.service}'s channel {channel} points at it" for channel in image.channels]
            held[key_of(image)] = (*words, *targets.get(key_of(image), ()), *by_digest.get(image.digest, ()))
        return held

    def _rollback_targets(self) -> dict[Key, list[str]]:
        """For each channel the image that a rollback would go back to, of each build that was promoted to it."""
        channels = Channels(self.store)
        found: dict[Key, list[str]] = {}
        for document in channels.list(self.service):
            for build in {entry["build"] for entry in document["history"]}:
                try:
                    image = channels.rollback_image(self.service, document["channel"], document["image"], build)
                except ImageError:
                    continue  # there is none
                found.setdefault(key_of(image), []).append(
                    f"a rollback of the channel {document['channel']} would go back to it"
                )
        return found
