# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Modifications of EBS volumes: their size and type."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..._aws.clients import Clients, aws_errors
from ..._core.errors import ProviderError

POLL_SECONDS = 2.0
TIMEOUT = 540.0  # seconds for one modification
NOT_APPLIED = ("modifying",)  # states of a modification in which the volume does not have its new size and type yet
# AWS's codes for a volume that cannot be modified now.
MODIFIED_RECENTLY = ("IncorrectModificationState", "VolumeModificationRateExceeded")


class Ec2VolumeModifications:
    """Raises ProviderError."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def apply(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Modify volumes, and return when all of them have their new size and type.

        Args:
            changes: by volume id, parameters of ModifyVolume (Size, VolumeType, Iops, Throughput).
        """
        for volume_id, change in changes.items():
            self._start(volume_id, change)
        self._wait(changes)

    def _start(self, volume_id: str, change: Mapping[str, Any]) -> None:
        try:
            with aws_errors(doing=f"modifying {volume_id}"):
                self._clients.ec2.modify_volume(VolumeId=volume_id, **change)
        except ProviderError as error:
            if error.code not in MODIFIED_RECENTLY:
                raise
            last = self._last_modifications([volume_id]).get(volume_id, {})
            if _applies(last, change) and last["ModificationState"] in NOT_APPLIED:  # an interrupted run started it
                return
            raise ProviderError(
                f"{error.message} (EBS modifies a volume only after the last modification is complete, "
                "and only a few times a day; run again later)",
                code=error.code,
                operation=error.details["operation"],
            ) from error

    def _wait(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """boto3 has no waiter for it. At first AWS may list no modification yet, or only an earlier one."""
        deadline = time.monotonic() + TIMEOUT
        remaining = dict(changes)
        while remaining:
            listed = self._last_modifications(list(remaining))
            started = {
                volume_id: listed[volume_id]
                for volume_id, change in remaining.items()
                if volume_id in listed and _applies(listed[volume_id], change)
            }
            failed = [
                f"{volume_id}: {modification.get('StatusMessage', 'no reason given')}"
                for volume_id, modification in started.items()
                if modification["ModificationState"] == "failed"
            ]
            if failed:
                raise ProviderError(f"modifying failed: {', '.join(failed)}")
            remaining = {
                volume_id: change
                for volume_id, change in remaining.items()
                if volume_id not in started or started[volume_id]["ModificationState"] in NOT_APPLIED
            }
            if remaining and time.monotonic() > deadline:
                raise ProviderError(
                    f"still being modified after {TIMEOUT:g} s: {', '.join(remaining)} (run again to continue)"
                )
            if remaining:
                time.sleep(POLL_SECONDS)

    def _last_modifications(self, volume_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """The last modification of each volume that was ever modified."""
        with aws_errors(doing="reading modifications of volumes"):
            pages = self._clients.ec2.get_paginator("describe_volumes_modifications").paginate(
                Filters=[{"Name": "volume-id", "Values": list(volume_ids)}]
            )
            return {
                modification["VolumeId"]: modification
                for page in pages
                for modification in page["VolumesModifications"]
            }


def _applies(modification: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
    """Whether a modification is the requested one."""
    return all(modification.get(f"Target{name}") == wanted for name, wanted in change.items())
