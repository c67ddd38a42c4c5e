# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What instances on EC2 print on their consoles. Reading a console is one call for each instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..._aws.clients import THROTTLED, Clients, aws_errors
from ..._core.errors import ProviderError
from ..contract import Evidence
from ..evidence import last_boot, parse_evidence
from .describe import boot_of, nonce_of

MAX_THREADS = 8
# AWS's codes for instance types whose latest console output cannot be read.
NO_LATEST_OUTPUT = ("UnsupportedOperation", "InvalidParameterCombination")


class Consoles:
    """Raises ProviderError."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self.warnings: list[str] = []  # a line for each console that could not be read

    def read(self, described: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Evidence | None, bool]]:
        """By boot, the evidence of the last boot on the console, and whether its beginning is on the console.

        Output that is older than this start of the instance is ignored. A console that cannot be read is no evidence,
        and does not keep the others from being read.

        Args:
            described: instances as EC2 describes them, at least one.
        """
        with ThreadPoolExecutor(max_workers=min(MAX_THREADS, len(described))) as pool:
            return dict(zip(map(boot_of, described), pool.map(self._read, described), strict=True))

    def text(self, instance_id: str) -> str:
        """The console's newest lines, or what EC2 has of it."""
        return str(self._output(self._clients.ec2, instance_id).get("Output", ""))

    def _read(self, described: Mapping[str, Any]) -> tuple[Evidence | None, bool]:
        try:
            output = self._output(self._clients.throttled_alone("ec2"), described["InstanceId"])
        except ProviderError as error:
            if error.permanent:  # no console can be read
                raise
            ended = error.code == "InvalidInstanceID.NotFound"
            if not ended and error.code not in THROTTLED and error.message not in self.warnings:
                self.warnings.append(error.message)
            return None, False
        if "Timestamp" in output and int(output["Timestamp"].timestamp()) < int(described["LaunchTime"].timestamp()):
            return None, False
        text, complete = last_boot(str(output.get("Output", "")))
        return parse_evidence(text, nonce_of(described)), complete

    def _output(self, ec2: Any, instance_id: str) -> Mapping[str, Any]:
        try:
            with aws_errors(doing=f"reading the console of {instance_id}"):
                return dict(ec2.get_console_output(InstanceId=instance_id, Latest=True))
        except ProviderError as error:
            if error.code not in NO_LATEST_OUTPUT:
                raise
        with aws_errors(doing=f"reading the console of {instance_id}"):
            return dict(ec2.get_console_output(InstanceId=instance_id))
