# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL on a data volume of a real machine: swapped with its rows, broken, and stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy.process import Process
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy.runtime import run_commands
from ansible_collections.immutable.infra.tests.support.machines import Service, released
from ansible_collections.immutable.infra.tests.support.on_host import run_on_host
from ansible_collections.immutable.infra.tests.support.waiting import until

pytestmark = pytest.mark.long
UNIT = "postgresql@15-main"
# The start of a session. The answer asks for a password, but only once the server accepts connections.
START = r"\x00\x00\x00\x14\x00\x03\x00\x00user\x00probe\x00\x00"
PROVISION = """
- name: Install PostgreSQL
  hosts: all
  gather_facts: false
  tasks:
    - name: Install its package
      ansible.builtin.apt:
        name: postgresql-15
        install_recommends: false
        update_cache: true
    - name: Listen on the network
      ansible.builtin.copy:
        content: "listen_addresses = '*'\\nssl = off\\n"
        dest: /etc/postgresql/15/main/conf.d/network.conf
        mode: "0644"
    - name: Ask every client for a password
      ansible.builtin.lineinfile:
        path: /etc/postgresql/15/main/pg_hba.conf
        line: host all all 0.0.0.0/0 scram-sha-256
    - name: Install the program that creates the databases on a new volume
      ansible.builtin.copy:
        src: create-databases
        dest: /usr/local/sbin/create-databases
        mode: "0755"
    - name: Create the folder of its unit's settings
      ansible.builtin.file:
        path: /etc/systemd/system/postgresql@15-main.service.d
        state: directory
        mode: "0755"
    - name: Run it before the server starts
      ansible.builtin.copy:
        content: |
          [Service]
          EnvironmentFile=-/run/immutable/settings.env
          ExecStartPre=+/usr/local/sbin/create-databases
        dest: /etc/systemd/system/postgresql@15-main.service.d/databases.conf
        mode: "0644"
"""
CREATE = """#!/bin/sh
set -eu
[ "${broken:-}" != yes ]
cd /var/lib/postgresql
[ ! -e 15/main/PG_VERSION ] || exit 0
chown postgres:postgres .
runuser -u postgres -- mkdir -p 15
rm -rf 15/main 15/new
runuser -u postgres -- /usr/lib/postgresql/15/bin/initdb -D 15/new --auth-local=peer --auth-host=scram-sha-256
mv 15/new 15/main
"""


class Database(Service):
    """PostgreSQL on one host that one can log in to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "database", size=1, shell="restricted", data=True)
        (folder / "provision.yml").write_text(PROVISION, encoding="utf-8")
        (folder / "create-databases").write_text(CREATE, encoding="utf-8")

    def define(self, **changes: Any) -> None:
        super().define(**changes)
        path = self.folder / "immutable.yml"
        document = json.loads(path.read_text(encoding="utf-8"))
        document["health"] = {"tcp": {"port": 5432, "send": START, "expect": "SCRAM-SHA-256"}, "deadline": "3m"}
        document["fleet"] |= {"strategy": "recreate", "hot": True}
        document["data"] = [{"name": "words", "size": "256M", "mount": "/var/lib/postgresql"}]
        document["targets"]["local"]["machine"] = {"memory": "512M"}
        path.write_text(json.dumps(document), encoding="utf-8")

    def query(self, statement: str) -> str:
        return run_on_host(self, "runuser", "-u", "postgres", "--", "psql", "-Atc", statement)

    def statuses(self) -> list[str]:
        """HAProxy's own words about its members."""
        process = Process(self.store.absolute() / "traffic" / self.fleet)
        pid = process.pid()
        assert pid is not None
        [table] = run_commands(process.socket, ["show stat members 4 -1"], pid)
        return [line.split(",")[17] for line in table.splitlines()[1:]]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with released(Database(tmp_path_factory.mktemp("database") / "database")) as service:
        yield service


def serving(database: Database) -> list[bool]:
    return [each["serving"] for each in database.instances()]


def test_the_rows_outlive_a_swap_and_a_version_that_never_starts(database: Database) -> None:
    [first] = database.instances()
    assert first["serving"] is True
    database.query("CREATE TABLE notes AS SELECT 'kept' AS note")
    database.greet("second")
    database.play("swap")
    [second] = database.instances()
    assert (second["serving"], second["id"] != first["id"]) == (True, True)
    assert "kept" in database.query("SELECT note FROM notes")
    database.define(settings={"broken": "yes"})
    output = database.play("swap", check=False)
    assert "port 5432 closed the connection without an answer" in output or "ConnectionResetError" in output
    [after] = database.instances()
    assert (after["serving"], after["image"], after["launch"]) == (True, second["image"], second["launch"])
    assert "kept" in database.query("SELECT note FROM notes")


def test_a_server_that_stops_leaves_traffic_and_comes_back(database: Database) -> None:
    database.greet("well")
    database.play("swap")
    assert serving(database) == [True]
    assert database.statuses() == ["UP"]
    run_on_host(database, "systemctl", "stop", UNIT)
    until(lambda: database.statuses() == ["DOWN"], 300)
    fleet = database.info()
    assert fleet["serving"] == 0
    [instance] = fleet["instances"]
    assert (instance["healthy"], instance["serving"], instance["traffic"]) == (False, False, "down")
    run_on_host(database, "systemctl", "start", UNIT)
    until(lambda: database.statuses() == ["UP"], 300)
    assert serving(database) == [True]
