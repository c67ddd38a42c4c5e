# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import base64
import os
import select
import signal
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils import _supervised
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Metric
from ansible_collections.immutable.infra.plugins.plugin_utils._health.metric_sources import MAX_ANSWER, read_metric
from ansible_collections.immutable.infra.plugins.plugin_utils._health.metrics import (
    Reading,
    evaluate,
    name_of,
    number_in,
)
from ansible_collections.immutable.infra.tests.support.held_time import hold_time

BOUND = 300.0  # seconds that a test waits for an event
ANSWER = '{"data": {"rate": 0.25, "ok": true, "none": null}, "results": [{"value": [1700000000, "0.75"]}], "3": 3}'


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("0.5\n", "", 0.5),
        (" -.5e1 ", "", -5.0),
        ("7", "", 7.0),
        ('"12"', "", 12.0),
        (ANSWER, "data.rate", 0.25),
        (ANSWER, "results[0].value[1]", 0.75),
        (ANSWER, "3", 3.0),
        ("[[1, 2], [3]]", "[1][0]", 3.0),
    ],
)
def test_the_number_is_found(text: str, path: str, value: float) -> None:
    assert number_in(text, path) == value


@pytest.mark.parametrize(
    ("text", "path", "problem"),
    [
        ("", "", "the answer is empty"),
        ("<html>\nlogin", "data.rate", "the answer is neither JSON nor a number: <html> login"),
        ("x" * 100, "", f"the answer is neither JSON nor a number: {'x' * 60}..."),
        ("[" * 100_000, "", f"the answer is neither JSON nor a number: {'[' * 60}..."),
        ("1_000", "", "the answer is neither JSON nor a number: 1_000"),
        ("NaN", "", "the answer is not a finite number: nan"),
        ("Infinity", "", "the answer is not a finite number: inf"),
        ("1e999", "", "the answer is not a finite number: inf"),
        ("1" + "0" * 400, "", "the answer is not a finite number: inf"),
        ('{"n": 1' + "0" * 400 + "}", "n", "n is not a finite number: inf"),
        ('"NaN"', "", 'the answer is not a number: "NaN"'),
        (ANSWER, "", "the answer is not a number: {"),
        (ANSWER, "data.ok", "data.ok is not a number: true"),
        (ANSWER, "data.none", "data.none is not a number: null"),
        (ANSWER, "data.errors", "data.errors is not there: data is a mapping of rate, ok, none, so it has no errors"),
        (ANSWER, "data.rate.x", "data.rate.x is not there: data.rate is 0.25, so it has no x"),
        (ANSWER, "results[1].value", "results[1].value is not there: results is a list of 1, so it has no [1]"),
        (ANSWER, "data[0]", "data[0] is not there: data is a mapping of rate, ok, none, so it has no [0]"),
        ("{}", "a", "a is not there: the answer is an empty mapping, so it has no a"),
        ("5", "a", "a is not there: the answer is 5, so it has no a"),
    ],
)
def test_anything_but_a_number_is_a_problem(text: str, path: str, problem: str) -> None:
    with pytest.raises(ValueError, match=".") as caught:
        number_in(text, path)
    assert str(caught.value).startswith(problem)


def test_bounds_are_inclusive() -> None:
    metric = Metric(url="http://m", least=0.1, most=0.2)
    assert [evaluate(text, metric).problem for text in ("0.1", "0.2", "0.09", "0.21")] == [
        "",
        "",
        "the number is 0.09, less than 0.1",
        "the number is 0.21, more than 0.2",
    ]
    assert evaluate("0.3", replace(metric, path="")).answered and not evaluate("-", metric).answered
    assert evaluate('{"a": 0}', Metric(url="http://m", path="a", least=0.0)) == Reading()


def test_secrets_of_a_url_are_not_shown() -> None:
    assert (
        name_of(Metric(url="https://user:pass@m.example.com:9/api/v1?query=x&key=s"))
        == "https://m.example.com:9/api/v1?..."
    )
    assert name_of(Metric(command=("./errors.sh", "--token", "s"))) == "command ./errors.sh"


class Source(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    release = threading.Event()
    requests: list[tuple[str, dict[str, str]]] = []

    def do_GET(self) -> None:
        self.requests.append((self.path, dict(self.headers)))
        path = self.path.partition("?")[0]
        if path == "/slow":
            self.release.wait(BOUND)
        body = {"/huge": b" " * MAX_ANSWER + b"12"}.get(path, ANSWER.encode())
        self.send_response({"/moved": 302, "/broken": 500, "/created": 201}.get(path, 200))
        self.send_header("Location", "/ok")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if path == "/trickle":
            self.wfile.write(body[:1])
            self.wfile.flush()
            self.release.wait(BOUND)
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    Source.release.clear()
    Source.requests.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Source)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    Source.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


def nothing() -> None:
    pass


def ask(url: str, **changes: Any) -> Reading:
    return read_metric(
        Metric(url=url, **{"path": "data.rate", "most": 0.3, "timeout": BOUND, **changes}), Path("/"), nothing
    )


def test_a_url_is_queried_and_evaluated(source: str) -> None:
    assert ask(f"http://{source}/ok") == Reading()
    assert ask(f"http://{source}", most=0.1) == Reading(f"http://{source}: data.rate is 0.25, more than 0.1")
    assert Source.requests[1][0] == "/"


def test_credentials_are_sent_to_the_source_only(source: str) -> None:
    reading = ask(f"http://me:s3%3Acret@{source}/ok?key=hidden", most=0.1)
    assert reading.problem == f"http://{source}/ok?...: data.rate is 0.25, more than 0.1"
    path, headers = Source.requests[0]
    assert path == "/ok?key=hidden"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"me:s3:cret"


@pytest.mark.parametrize(("path", "status"), [("/moved", 302), ("/broken", 500), ("/created", 201)])
def test_only_200_is_an_answer(source: str, path: str, status: int) -> None:
    assert ask(f"http://{source}{path}") == Reading(
        f"http://{source}{path}: it answered {status}, not 200", answered=False
    )
    assert len(Source.requests) == 1


def test_an_endless_answer_is_not_read(source: str) -> None:
    assert ask(f"http://{source}/huge", path="") == Reading(
        f"http://{source}/huge: the answer has more than {MAX_ANSWER} bytes", answered=False
    )


@pytest.mark.parametrize("path", ["/slow", "/trickle"])
def test_a_late_answer_is_no_answer(source: str, path: str) -> None:
    assert ask(f"http://{source}{path}", timeout=0.2) == Reading(
        f"http://{source}{path}: no answer within 0.2 s", answered=False
    )


def test_an_unreachable_source_is_a_problem(source: str) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        reading = ask(f"http://{address}/")
    assert not reading.answered and "Connection refused" in reading.problem
    reading = ask("http://user:s3cret@127.0.0.1:port/?key=s3cret")
    assert reading == Reading("http://127.0.0.1:port/?...: is not a URL that can be queried", answered=False)
    assert not ask(f"https://{source}/ok").answered
    assert "unknown url type" in ask("file:///etc/hostname", path="").problem


def test_proxies_of_the_environment_are_used(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://{source}")
    assert ask("http://metrics.invalid/x") == Reading()
    assert Source.requests[0][0] == "http://metrics.invalid/x"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert ask(f"http://{source}/direct") == Reading()
    assert Source.requests[1][0] == "/direct"


class Lost(Exception):
    pass


def lost() -> None:
    raise Lost


def test_a_canceled_reading_ends(source: str, tmp_path: Path) -> None:
    with pytest.raises(Lost):
        read_metric(Metric(url=f"http://{source}/slow", most=1.0, timeout=BOUND), tmp_path, lost)
    with pytest.raises(Lost):
        read_metric(Metric(command=("sleep", "300"), timeout=BOUND), tmp_path, lost)


def script(folder: Path, text: str) -> Metric:
    path = folder / "read.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Metric(command=("./read.sh", "a b"), timeout=BOUND)


def run(folder: Path, text: str, **changes: Any) -> Reading:
    return read_metric(replace(script(folder, text), **changes), folder, nothing)


def test_a_command_runs_in_the_definitions_folder_without_a_shell(tmp_path: Path) -> None:
    assert run(tmp_path, f'test "$1" = "a b" && test "$PWD" = "{tmp_path}" && test -z "$(cat)"') == Reading()
    assert read_metric(Metric(command=("echo", "$HOME"), least=0.0), tmp_path, nothing).problem.endswith(
        "neither JSON nor a number: $HOME"
    )


def test_a_command_prints_the_number_and_may_write_to_standard_error(tmp_path: Path) -> None:
    assert run(tmp_path, "echo warning >&2; echo '{\"a\":\n [5]}'", path="a[0]", most=5.0) == Reading()
    assert run(tmp_path, "echo 5", most=4.0) == Reading("command ./read.sh: the number is 5, more than 4")


def test_a_failing_command_is_a_verdict_only_without_bounds(tmp_path: Path) -> None:
    failing = "echo 1; echo first >&2; echo too many errors >&2; exit 3"
    assert run(tmp_path, failing) == Reading("command ./read.sh: it ended with 3 (its last output: too many errors)")
    assert run(tmp_path, failing, most=5.0) == Reading(
        "command ./read.sh: it ended with 3 (its last output: too many errors)", answered=False
    )
    assert run(tmp_path, "echo all is lost; exit 1") == Reading(
        "command ./read.sh: it ended with 1 (its last output: all is lost)"
    )
    missing = read_metric(Metric(command=("./missing.sh",)), tmp_path, nothing).problem
    assert missing.startswith(
        "command ./missing.sh: it ended with 127 (its last output: cannot start "
    ) and missing.endswith("No such file or directory)")


def test_endless_output_of_a_command_is_a_problem(tmp_path: Path) -> None:
    many = f"head -c {MAX_ANSWER} /dev/zero | tr '\\0' ' '; echo; echo 1"
    assert run(tmp_path, many, most=5.0) == Reading(
        f"command ./read.sh: it printed more than {MAX_ANSWER} bytes", answered=False
    )


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for foreign processes by pidfd")
def test_a_command_that_takes_too_long_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time begins when it has started both children: on a busy machine, that alone can take longer."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)  # at its end, no process has it open any more
    started, held = tmp_path / "started", hold_time(monkeypatch, _supervised)

    def begin() -> None:
        if started.exists():
            held.run()

    metric = script(tmp_path, f"exec 3>{fifo}; echo started >&2; sleep 300 & : > started; sleep 300")
    reading = read_metric(replace(metric, timeout=0.5), tmp_path, begin)
    assert reading == Reading(
        "command ./read.sh: it did not end within 0.5 s (its last output: started)", answered=False
    )
    assert select.select([reader], [], [], BOUND)[0] and os.read(reader, 1) == b""
    os.close(reader)


def test_a_process_that_left_the_commands_group_delays_nothing(tmp_path: Path) -> None:
    ended, pid = tmp_path / "ended", tmp_path / "pid"
    stranger = f"import subprocess; subprocess.run(['sleep', '300']); open({str(ended)!r}, 'w')"
    child = f"""
import subprocess, sys
with open({str(pid)!r}, "w") as file:
    file.write(str(subprocess.Popen([sys.executable, "-c", {stranger!r}], start_new_session=True).pid))
print(1)
"""
    assert (
        read_metric(Metric(command=(sys.executable, "-c", child), least=0.0, timeout=BOUND), tmp_path, nothing)
        == Reading()
    )
    assert not ended.exists()
    os.killpg(int(pid.read_text()), signal.SIGKILL)
