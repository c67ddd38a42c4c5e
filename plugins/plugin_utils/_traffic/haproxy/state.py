# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Members as HAProxy reports them.

Source: ``show servers state`` and ``show stat`` in https://docs.haproxy.org/2.6/management.html#9.3
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

from ..._core.errors import TrafficError
from ..._providers.contract import DOWN, DRAIN, UP, Member, MemberState
from .config import TakenOver

_FORCED_MAINTENANCE, _DRAINED = 0x01, 0x08 | 0x10  # bits of the administrative state
_CHECK_CONFIGURED = 0x02  # a bit of the check's state


@dataclass(frozen=True)
class Server:
    """One server of the backend."""

    id: str
    address: tuple[str, int]
    admin: int  # bits of the administrative state
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
        """Whether its checks pass. A drained member is checked like any other.

        A member that a new process took over in service has no checks and counts as passing: it passed the checks of
        its time. Otherwise a change of the health settings alone would take a whole fleet out of service, and no
        rollback could use it. The fleet's own probe still decides whether it is healthy.
        """
        if self.admin & _FORCED_MAINTENANCE:
            return False
        if not self.checked:
            return True
        return self.status.startswith(("UP", "DRAIN")) and self.check.lstrip("* ") not in ("INI", "")

    def member(self, now: float) -> Member:
        """The server as a member. ``now``: seconds since the epoch."""
        state: MemberState = DRAIN if self.draining else UP if self.passing else DOWN
        since = now - self.unchanged_for
        return Member(self.id, state, self.in_flight, since, passing=self.passing)

    def taken_over(self) -> TakenOver:
        return TakenOver(self.id, self.address, self.draining)


def parse_servers(states: str, stats: str) -> list[Server]:
    """Servers from the answers to ``show servers state`` and ``show stat``, which were read together.

    Raises TrafficError if the answers are something else.
    """
    try:
        return _servers(states, stats)
    except (LookupError, ValueError, AttributeError, TypeError, csv.Error) as error:
        raise TrafficError(f"HAProxy's answer is not a table of servers ({error}): {states[:200]!r}") from error


def _servers(states: str, stats: str) -> list[Server]:
    rows = [line for line in states.splitlines() if line]
    names = rows[1].removeprefix("# ").split()
    counters = {row["svname"]: row for row in csv.DictReader(stats.removeprefix("# ").splitlines())}
    servers = []
    for row in rows[2:]:
        facts = dict(zip(names, row.split(), strict=False))
        counted = counters.get(facts["srv_name"])
        if counted is None:
            continue  # it was deleted between the two tables
        servers.append(
            Server(
                id=facts["srv_name"],
                address=(facts["srv_addr"], int(facts["srv_port"])),
                admin=int(facts["srv_admin_state"]),
                status=str(counted["status"] or ""),
                checked=bool(int(facts["srv_check_state"]) & _CHECK_CONFIGURED),
                check=str(counted["check_status"] or ""),
                # Requests being answered or waiting in the queue, without idle connections.
                in_flight=int(counted["scur"]) + int(counted["qcur"]),
                unchanged_for=int(facts["srv_time_since_last_change"]),
            )
        )
    return servers
