# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What servers print on their consoles. Reading a console is one call for each server."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

from ..._core.errors import ProviderError
from ..._openstack.errors import CONFLICT, NOT_FOUND
from ..._openstack.rest import Rest
from ..evidence import last_boot, parse_evidence
from ..seal_evidence import Boot, Reported

MAX_THREADS = 4
MAX_LINES = 5000  # that are requested of a console
MAX_OUTPUT = 1 << 18  # characters of them that are read


class Consoles:
    """Raises ProviderError."""

    def __init__(self, compute: Rest) -> None:
        self._compute = compute
        self.warnings: list[str] = []  # a line for each console that could not be read

    def read(
        self,
        due: Mapping[str, Boot],
        known: Mapping[str, Reported],  # noqa: ARG002  consoles have no versions
    ) -> tuple[Mapping[str, Reported], Collection[str]]:
        """See ``ReadEvidence``. A console that cannot be read is no evidence, and the others are read all the same."""
        if not due:
            return {}, ()
        with ThreadPoolExecutor(max_workers=min(MAX_THREADS, len(due))) as pool:
            texts = dict(
                zip(due, pool.map(self._read, (str(one.described["id"]) for one in due.values())), strict=True)
            )
        found, rebooted = {}, []
        for boot, text in texts.items():
            output, complete = last_boot(text)
            evidence = parse_evidence(output, due[boot].nonce)
            if evidence:
                found[boot] = Reported(evidence)
            if complete:
                rebooted.append(boot)
        return found, rebooted

    def text(self, server_id: str) -> str:
        """The newest lines of the console."""
        body = {"os-getConsoleOutput": {"length": MAX_LINES}}
        answer = self._compute.post(f"/servers/{server_id}/action", body, f"reading the console of {server_id}")
        return str(answer.get("output") or "")[-MAX_OUTPUT:]

    def _read(self, server_id: str) -> str:
        try:
            return self.text(server_id)
        except ProviderError as error:
            if error.permanent:  # no console can be read
                raise
            if error.code not in (NOT_FOUND, CONFLICT) and error.message not in self.warnings:
                self.warnings.append(error.message)
            return ""
