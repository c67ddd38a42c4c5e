# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask a metric's source, a command or a URL, within its timeout."""

from __future__ import annotations

import base64
import http.client
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.parse import unquote, urlsplit, urlunsplit

from ...module_utils._supervised import Supervised
from .._definition.model import Metric
from .metrics import Reading, judge, name_of

MOST = 1024**2  # bytes of an answer
GRACE = 1.0  # seconds that a command has to end in order, once its time is up
_LOOK_AGAIN = 1.0
Meanwhile = Callable[[], None]


def read_metric(metric: Metric, folder: Path, meanwhile: Meanwhile) -> Reading:
    """One reading. What cannot be told is a problem like any other, with ``told`` False.

    Args:
        folder: the definition's, in which a command runs.
        meanwhile: called about once a second until the source has answered; what it raises ends the reading.
    """
    reading = _ask_url(metric, meanwhile) if metric.url else _run_command(metric, folder, meanwhile)
    return Reading(f"{name_of(metric)}: {reading.problem}", reading.told) if reading.problem else reading


def _run_command(metric: Metric, folder: Path, meanwhile: Meanwhile) -> Reading:
    with tempfile.TemporaryDirectory(prefix="immutable-metric-") as private:
        errors = Path(private) / "errors"
        kept, size = [], 0
        with Supervised(metric.command, cwd=str(folder), grace=GRACE, errors=str(errors), meanwhile=meanwhile) as child:
            for line in child.lines(metric.timeout):
                size += len(line)
                kept.append(line if size <= MOST else "")
            code = child.wait()
        said = errors.read_text(encoding="utf-8", errors="replace") if errors.exists() else ""
    last = next((line.strip() for line in reversed([*kept, *said.splitlines()]) if line.strip()), "")
    words = f" (it said: {last[:200]})" if last else ""
    if child.stopped_for == "timeout":
        return Reading(f"it did not end within {metric.timeout:g} s{words}", told=False)
    if code != 0:
        return Reading(f"it ended with {code}{words}", told=not metric.bounded)
    if not metric.bounded:
        return Reading()
    if size > MOST:
        return Reading(f"it printed more than {MOST} bytes", told=False)
    return judge("\n".join(kept), metric)


def _ask_url(metric: Metric, meanwhile: Meanwhile) -> Reading:
    """In a thread of its own, since neither the search for an address nor an answer that trickles in keeps to a socket's timeout."""
    answers: list[Reading] = []
    done = threading.Event()

    def ask() -> None:
        answers.append(_fetch(metric))
        done.set()

    threading.Thread(target=ask, daemon=True).start()
    deadline = time.monotonic() + metric.timeout
    while (left := deadline - time.monotonic()) > 0 and not done.wait(min(_LOOK_AGAIN, left)):
        meanwhile()
    return answers[0] if answers else Reading(f"no answer within {metric.timeout:g} s", told=False)


def _fetch(metric: Metric) -> Reading:
    parts = urlsplit(metric.url)
    user, at, host = parts.netloc.rpartition("@")
    headers = {"Accept": "application/json", "User-Agent": "immutable-metric"}
    if at:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(user).encode()).decode()}"
    # Without handlers for redirects and errors: what is not the answer itself says so by its status.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    try:
        url = urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
        request = urllib.request.Request(url, headers=headers)  # noqa: S310  the opener knows http and https only
        with opener.open(request, timeout=metric.timeout) as response:
            status, body = response.status, response.read(MOST + 1)
    except TimeoutError:
        return Reading(f"no answer within {metric.timeout:g} s", told=False)
    except URLError as error:
        return Reading(f"cannot be asked: {error.reason}", told=False)
    except (ValueError, http.client.InvalidURL):  # its words may hold what a URL keeps secret
        return Reading("is no URL that can be asked", told=False)
    except (OSError, http.client.HTTPException) as error:
        return Reading(f"cannot be asked: {type(error).__name__}: {error}".rstrip(": "), told=False)
    if status != 200:
        return Reading(f"it answered {status}, not 200", told=False)
    if len(body) > MOST:
        return Reading(f"the answer has more than {MOST} bytes", told=False)
    return judge(body.decode("utf-8", "replace"), metric)
