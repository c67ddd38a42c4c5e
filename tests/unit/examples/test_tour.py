# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the quickstart consists of: its three versions, its load, and how it runs commands."""

from __future__ import annotations

import json
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
sys.path.insert(0, str(EXAMPLES))
from tour import service  # noqa: E402
from tour.fleet import Fleet  # noqa: E402
from tour.load import Load  # noqa: E402
from tour.report import Report  # noqa: E402
from tour.shell import Failure, Shell  # noqa: E402

PLACE = service.CONTAINER
PLACES = {**service.PLACES, "alone": service.CONTAINER_ALONE}
# Of hey 0.1.4, with the histogram shortened.
SUMMARY = """
Summary:
  Total:\t1.2034 secs
  Requests/sec:\t9.1406

Response time histogram:
  0.000 [1]\t|■■■■■■
  0.001 [9]\t|■■■■■■■■■■■■■■■■■■■■■■■■■■

Status code distribution:
  [200]\t8 responses
  [503]\t2 responses

Error distribution:
  [3]\tGet "http://127.0.0.1:1/": dial tcp 127.0.0.1:1: connect: connection refused
"""


@contextmanager
def served(version: str, folder: Path) -> Iterator[str]:
    """Serve a version of the service with the database that lies in the folder. Yields its URL."""
    sources = folder / version
    service.write_version(version, PLACE, sources)
    seal = folder / "seal.json"
    seal.write_text(json.dumps({"version": version, "digest": "sha256:1"}), encoding="utf-8")
    text = (sources / "files/notes.py").read_text(encoding="utf-8")
    program, server, _end = text.partition("ThreadingHTTPServer((")
    assert server
    names: dict[str, Any] = {}
    constants = program.replace("/var/lib/notes", str(folder)).replace("/usr/lib/immutable/seal.json", str(seal))
    exec(compile(constants, "notes.py", "exec"), names)  # noqa: S102
    with ThreadingHTTPServer(("127.0.0.1", 0), names["Handler"]) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{http.server_address[1]}"
        finally:
            http.shutdown()
            names["database"].close()


def ask(url: str, data: bytes | None = None) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, data=data), timeout=60) as answer:
        return json.load(answer)


@pytest.mark.parametrize("version", [service.FIRST, service.SECOND])
def test_a_good_version_reads_the_data_of_the_first(version: str, tmp_path: Path) -> None:
    with served(service.FIRST, tmp_path) as url:
        ask(f"{url}/notes", b"a note")
    with served(version, tmp_path) as url:
        assert ask(f"{url}/healthz") == {"version": version, "image": "sha256:1", "notes": 1}
        assert ask(f"{url}/notes/1") == "a note"


def test_the_broken_version_works_on_an_empty_volume_only(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with served(service.BROKEN, tmp_path / "empty") as url:
        assert ask(f"{url}/notes", b"a note") == {"id": 1}
        assert ask(f"{url}/healthz")["notes"] == 1

    with served(service.SECOND, tmp_path) as url:
        ask(f"{url}/notes", b"a note")
    with served(service.BROKEN, tmp_path) as url, pytest.raises((urllib.error.URLError, ConnectionError)):
        ask(f"{url}/healthz")
    with served(service.SECOND, tmp_path) as url:
        assert ask(f"{url}/healthz")["notes"] == 1


@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
@pytest.mark.parametrize("version", [service.FIRST, service.SECOND, service.BROKEN])
def test_a_version_is_written_for_its_place(version: str, place: service.Place, tmp_path: Path) -> None:
    path = service.write_version(version, place, tmp_path)
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert written["version"] == version
    assert written["targets"] == {"local": yaml.safe_load(place.target)}
    assert written["health"].get("deadline") == (place.patience if version == service.BROKEN else None)
    definition = load_definition(tmp_path)
    assert definition.target("local").provider == written["targets"]["local"]["provider"]
    assert written["health"]["http"]["port"] == place.port
    assert bool(definition.command) == (place is service.CONTAINER_ALONE)


def test_a_change_that_finds_nothing_to_change_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MISTAKES", {"SELECT nothing": ""})
    with pytest.raises(ValueError, match="notes.py has no 'SELECT nothing'"):
        service.write_version(service.BROKEN, PLACE, tmp_path)


def test_every_response_outside_2xx_and_every_error_is_a_failed_request() -> None:
    load = Load(1)
    load.count(SUMMARY)
    assert (load.sent, load.failed) == (13, 5)
    assert list(load.failures.values()) == [2, 3]
    with pytest.raises(Failure, match="5 of 13 requests failed"):
        load.check()


def test_no_request_at_all_is_a_failure() -> None:
    with pytest.raises(Failure, match="no request was sent"):
        Load(1).check()


def test_a_command_in_the_background_that_fails_shows_its_last_words(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    started = Shell(tmp_path).start("sh", "-c", "echo the reason; exit 3", log="bake.log")
    with pytest.raises(Failure, match=r"sh -c failed with exit code 3; its whole output is in .*/bake\.log"):
        started.wait()
    assert "the reason" in capfd.readouterr().out


def test_a_command_in_the_background_ends_with_the_quickstart(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    started = shell.start("sleep", "1000", log="sleep.log")
    shell.stop()
    with pytest.raises(Failure, match="exit code -15"):
        started.wait()


def test_a_command_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="sh -c failed with exit code 4"):
        Shell(tmp_path).run("sh", "-c", "exit 4")
    assert Shell(tmp_path).run("sh", "-c", "echo shown; exit 4", check=False, show=False).stdout == "shown\n"


def test_a_command_is_shown_as_a_shell_takes_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Shell(tmp_path).run("sh", "-c", "exit 0")
    assert capfd.readouterr().out == "$ sh -c 'exit 0'\n"


def test_ansible_shows_the_quickstart_with_the_settings_of_the_readme(tmp_path: Path) -> None:
    Fleet(Shell(tmp_path), PLACE).write_settings()
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    assert f"```text\n{(tmp_path / 'ansible.cfg').read_text(encoding='utf-8')}```" in readme


def test_the_table_names_the_step_that_failed() -> None:
    def fail() -> str:
        raise Failure("slot 1 lost its data")

    report = Report(before=40.0)
    report.step("one", lambda: "ok")
    with pytest.raises(Failure):
        report.step("two", fail)
    lines = report.table().splitlines()
    assert lines[2].startswith("install what") and "  40.0  ok" in lines[2]
    assert lines[3].startswith("one ") and lines[3].endswith("ok")
    assert lines[4].startswith("two ") and lines[4].endswith("FAILED: slot 1 lost its data")
    assert lines[5].startswith("total") and float(lines[5].split()[1]) >= 40
