# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Members as HAProxy's tables tell of them."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from ..._providers.contract import DOWN, DRAIN, UP, Member, MemberState
from .config import Known

_FORCED_MAINTENANCE, _DRAINED = 0x01, 0x08 | 0x10  # bits of the administrative state
_CHECK_CONFIGURED = 0x02  # a bit of the check's state


@dataclass(frozen=True)
class Server:
    id: str
    address: tuple[str, int]
    admin: int
    status: str  # "UP", "DOWN 1/2", "DRAIN", "MAINT", "no check", ...
    checked: bool  # whether it has checks at all
    check: str  # the last check's outcome, such as "L7OK"; "" without checks
    in_flight: int
    unchanged_for: int  # seconds

    @property
    def draining(self) -> bool:
        return bool(self.admin & (_FORCED_MAINTENANCE | _DRAINED))

    @property
    def passing(self) -> bool:
        """A drained member is checked like any other. One that a new process took over from service has no checks, and passes:
        it passed those of its time, and were it said to fail, a change of the health setting alone would condemn a whole fleet
        and bar the way back to it. The fleet's own probe judges it all the same.
        """
        if self.admin & _FORCED_MAINTENANCE:
            return False
        if not self.checked:
            return True
        return self.status.startswith(("UP", "DRAIN")) and self.check.lstrip("* ") not in ("INI", "")

    def member(self, now: float) -> Member:
        """``now``: seconds since the epoch."""
        state: MemberState = DRAIN if self.draining else UP if self.passing else DOWN
        return Member(self.id, state, self.in_flight, now - self.unchanged_for, self.passing)

    def known(self) -> Known:
        return Known(self.id, self.address, self.draining)


def parse_servers(states: str, stats: str) -> list[Server]:
    """From the answers to ``show servers state`` and ``show stat``, read in one go."""
    rows = [line for line in states.splitlines() if line]
    names = rows[1].removeprefix("# ").split()
    counters = {row["svname"]: row for row in csv.DictReader(stats.removeprefix("# ").splitlines())}
    servers = []
    for row in rows[2:]:
        facts = dict(zip(names, row.split(), strict=False))
        counted = counters.get(facts["srv_name"])
        if counted is None:
            continue  # it went between the two tables
        servers.append(
            Server(
                id=facts["srv_name"],
                address=(facts["srv_addr"], int(facts["srv_port"])),
                admin=int(facts["srv_admin_state"]),
                status=counted["status"],
                checked=bool(int(facts["srv_check_state"]) & _CHECK_CONFIGURED),
                check=counted["check_status"],
                # Requests being answered and those waiting for it; idle connections are neither.
                in_flight=int(counted["scur"]) + int(counted["qcur"]),
                unchanged_for=int(facts["srv_time_since_last_change"]),
            )
        )
    return servers
