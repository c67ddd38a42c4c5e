# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Attestation of real hosts: none of the units that Debian starts is a difference, and what an intruder leaves is."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from ansible_collections.immutable.infra.tests.support.machines import PIPED, Service, ask

PROGRAM = "/usr/local/bin/echo-service"
DROP_IN = "/run/systemd/system/echo.service.d/intruder.conf"
# A modified program, which only the service sees.
REPLACE = f"""
mkdir -p $(dirname {DROP_IN}) &&
sed 's/".version": .*/"\\/version": lambda: b"intruder",/' {PROGRAM} > /tmp/intruder && chmod 0755 /tmp/intruder &&
printf '[Service]\\nBindReadOnlyPaths=/tmp/intruder:{PROGRAM}\\n' > {DROP_IN} &&
systemctl daemon-reload && systemctl restart echo.service &&
for attempt in $(seq 300); do
    /usr/bin/python3 -c 'import socket; socket.create_connection(("127.0.0.1", 8080))' 2> /dev/null && break
done
"""
# The service keeps its mounts after this, but there is no trace in any unit.
HIDE = f"""
rm -r $(dirname {DROP_IN}) && systemctl daemon-reload && cp /usr/bin/sleep /tmp/tool
/tmp/tool 600 < /dev/null > /dev/null 2>&1 &
echo $! > /tmp/tool.pid
while [ "$(readlink /proc/$!/exe)" != /tmp/tool ]; do :; done
"""
RESTORE = "kill $(cat /tmp/tool.pid) && systemctl restart echo.service"


def attest(service: Service, command: str) -> dict[int, dict[str, Any]]:
    """Run a command on each host and attest it afterwards. Returns the results by slot."""
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.shell": command},
        {"immutable.infra.host_attest": {"fail_on_drift": False}, "register": "attested"},
        {
            "ansible.builtin.copy": {
                "dest": str(service.folder / "attested-{{ immutable_slot }}.json"),
                "content": "{{ attested | to_json }}",
                "mode": "0600",
            },
            "delegate_to": "localhost",
        },
    ]
    play = service.folder / "attest.yml"
    play.write_text(json.dumps([{"hosts": "sealed", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(["ansible-playbook", "-i", str(service.inventory()), str(play)], **PIPED, check=False)
    assert done.returncode == 0, done.stdout
    return {
        slot: json.loads((service.folder / f"attested-{slot}.json").read_text(encoding="utf-8"))
        for slot in range(service.size)
    }


def found(result: dict[str, Any]) -> set[tuple[str, str]]:
    return {(each["kind"], each["path"]) for each in result["differences"]}


def test_what_only_a_process_sees_is_found_and_a_clean_host_has_no_differences(plain: Service) -> None:
    for result in attest(plain, "true").values():
        assert result["differences"] == []
        assert result["not_compared"] == []

    replaced = attest(plain, REPLACE)
    assert {ask(instance, "/version")[1] for instance in plain.instances()} == {b"intruder"}
    for result in replaced.values():
        assert found(result) == {("override", DROP_IN), ("process_mount", PROGRAM)}

    for result in attest(plain, HIDE).values():
        assert found(result) == {("process_mount", PROGRAM), ("program", "/tmp/tool")}

    for result in attest(plain, RESTORE).values():
        assert result["differences"] == []
