# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The database of the docs in a container: changed, broken, taken back and mended, with its data."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.machines import Service, released

pytestmark = pytest.mark.long
EXAMPLE = Path(__file__).parents[2] / "examples/redis"
# Stands for a version that cannot read the data of the one before.
REFUSAL = (
    'ExecStartPre=/bin/sh -c "[ ! -e /var/lib/redis/appendonlydir ] || { echo made by another version; exit 1; }"\n'
)


class Redis(Service):
    def __init__(self, folder: Path, store: Path) -> None:
        super().__init__(folder, "cache", size=1, shell="restricted", data=True, store=store, provider="container")
        shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
        self.edit("immutable.yml", "    provider: container\n", "    provider: container\n    health: {deadline: 1m}\n")

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def say(self, command: str) -> str:
        host, _colon, port = self.module("fleet_info")["endpoint"].removeprefix("tcp://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(f"{command}\r\nQUIT\r\n".encode())
            answer = connection.makefile("rb").read().decode()
        assert answer.endswith("+OK\r\n")
        return answer.removesuffix("+OK\r\n")

    def remove(self) -> None:
        self.module("fleet", state="absent", remove_volumes=["redis"])


@pytest.mark.usefixtures("base")
def test_the_database_of_the_docs_keeps_its_data(store: Path, tmp_path: Path) -> None:
    with released(Redis(tmp_path / "cache", store)) as redis:
        assert redis.say("SET greeting kept") == "+OK\r\n"
        redis.edit("immutable.yml", "64mb", "96mb")
        assert "a bake is due:" not in redis.play("release")
        assert "100663296" in redis.say("CONFIG GET maxmemory")
        redis.edit("immutable.yml", "1.0.0", "2.0.0")
        redis.edit("files/host.conf", "ExecStart=\n", f"{REFUSAL}ExecStart=\n")
        output = redis.play("release", check=False)
        assert "IMMUTABLE-SERVICE" in output and "made by another version" in output
        assert redis.say("GET greeting") == "$4\r\nkept\r\n"
        redis.edit("immutable.yml", "2.0.0", "2.0.1")
        redis.edit("files/host.conf", REFUSAL, "")
        redis.play("release")
        assert redis.say("GET greeting") == "$4\r\nkept\r\n"
        redis.play("attest")
