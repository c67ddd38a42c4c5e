# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Query the source of a metric, a command or a URL, within its timeout."""

from __future__ import annotations

import base64
import http.client
import ssl
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.parse import unquote, urlsplit, urlunsplit

from ...module_utils._plain_text import plain_line
from ...module_utils._supervised import Supervised
from .._definition.model import Metric
from .._definition.probes import with_headers
from .metrics import Reading, evaluate, name_of

MAX_ANSWER = 1024**2  # bytes
MAX_SHOWN = 200  # characters of a source's own words in a message
GRACE = 1.0  # seconds for a command to end in order after its timeout
_POLL = 1.0  # seconds
Meanwhile = Callable[[], None]


def read_metric(metric: Metric, folder: Path, meanwhile: Meanwhile) -> Reading:
    """Read a metric once. If the source gives no valid answer, that is the problem, and ``answered`` is False.

    Args:
        folder: the definition's folder, in which a command runs.
        meanwhile: called about once a second until the source has answered; what it raises ends the reading.
    """
    reading = _query_url(metric, meanwhile) if metric.url else _run_command(metric, folder, meanwhile)
    if not reading.problem:
        return reading
    return Reading(plain_line(f"{name_of(metric)}: {reading.problem}"), reading.answered)


def _run_command(metric: Metric, folder: Path, meanwhile: Meanwhile) -> Reading:
    with tempfile.TemporaryDirectory(prefix="immutable-metric-") as private:
        errors = Path(private) / "errors"
        kept, size = [], 0
        with Supervised(metric.command, cwd=str(folder), grace=GRACE, errors=str(errors), meanwhile=meanwhile) as child:
            for line in child.lines(metric.timeout):
                size += len(line)
                kept.append(line if size <= MAX_ANSWER else "")
            code = child.wait()
        error_output = errors.read_text(encoding="utf-8", errors="replace") if errors.exists() else ""
    last = next((line.strip() for line in reversed([*kept, *error_output.splitlines()]) if line.strip()), "")
    words = f" (its last output: {last[:MAX_SHOWN]})" if last else ""
    if child.stopped_for == "timeout":
        return Reading(f"it did not end within {metric.timeout:g} s{words}", answered=False)
    if code != 0:
        return Reading(f"it ended with {code}{words}", answered=not metric.bounded)
    if not metric.bounded:
        return Reading()
    if size > MAX_ANSWER:
        return Reading(f"it printed more than {MAX_ANSWER} bytes", answered=False)
    return evaluate("\n".join(kept), metric)


def _query_url(metric: Metric, meanwhile: Meanwhile) -> Reading:
    """Query in a thread: neither a name lookup nor an answer that arrives in pieces keeps a socket's timeout."""
    answers: list[Reading] = []
    done = threading.Event()

    def query() -> None:
        answers.append(_fetch(metric))
        done.set()

    threading.Thread(target=query, daemon=True).start()
    deadline = time.monotonic() + metric.timeout
    while (remaining := deadline - time.monotonic()) > 0 and not done.wait(min(_POLL, remaining)):
        meanwhile()
    return answers[0] if answers else Reading(f"no answer within {metric.timeout:g} s", answered=False)


def _fetch(metric: Metric) -> Reading:
    parts = urlsplit(metric.url)
    user, at, host = parts.netloc.rpartition("@")
    headers = {"Accept": "application/json", "User-Agent": "immutable-metric"}
    if at:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(user).encode()).decode()}"
    # Without handlers for redirects and errors: any status but 200 is a problem.
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.UnknownHandler):
        opener.add_handler(handler())
    try:
        # With the CAs of the metric, those of the system do not count.
        context = ssl.create_default_context(cadata=metric.ca or None)
        opener.add_handler(urllib.request.HTTPSHandler(context=context))
        url = urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
        sent = with_headers(headers, metric.headers)
        request = urllib.request.Request(url, headers=sent)  # noqa: S310  the opener knows http and https only
        with opener.open(request, timeout=metric.timeout) as response:
            status, body = response.status, response.read(MAX_ANSWER + 1)
    except TimeoutError:
        return Reading(f"no answer within {metric.timeout:g} s", answered=False)
    except URLError as error:
        return Reading(f"cannot be queried: {str(error.reason)[:MAX_SHOWN]}", answered=False)
    except (ValueError, http.client.InvalidURL):  # its message may contain secrets of the URL
        return Reading("is not a URL that can be queried", answered=False)
    except (OSError, http.client.HTTPException) as error:
        return Reading(
            f"cannot be queried: {type(error).__name__}: {str(error)[:MAX_SHOWN]}".rstrip(": "), answered=False
        )
    if status != 200:
        return Reading(f"it answered {status}, not 200", answered=False)
    if len(body) > MAX_ANSWER:
        return Reading(f"the answer has more than {MAX_ANSWER} bytes", answered=False)
    return evaluate(body.decode("utf-8", "replace"), metric)
