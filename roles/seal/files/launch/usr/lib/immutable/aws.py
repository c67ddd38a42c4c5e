"""Call AWS with the credentials of the instance. Imported by the programs next to it."""

import http.client
import json
import time
from urllib.parse import urlsplit

import sigv4

DEADLINE = 60.0  # seconds for one call, including retries
TIMEOUT = 10.0  # seconds for one try
RETRY_DELAY = 1.0  # seconds
MAX_ANSWER = 2**23  # bytes: ten secrets of 64 KiB as JSON are much less


class Refused(Exception):
    """A permanent error, which is not retried."""


def credentials_in(text):
    """Return the credentials that the instance metadata service answered. Raises Refused, ValueError."""
    found = json.loads(text)
    if "SecretAccessKey" not in found:
        raise Refused(f"the instance profile provides no credentials: {found.get('Code', 'no reason given')}")
    return found


def call(method, url, body, *, headers, scope, credentials):
    """Send one signed request. Returns (status, body). Raises OSError or HTTPException, after which a retry may help.

    Args:
        headers: by lower-case name, without "host".
        scope: (region, service).
    """
    parts = urlsplit(url)
    path = parts.path or "/"
    headers = sigv4.signed(
        method,
        path,
        body,
        headers={**headers, "host": parts.netloc},
        scope=scope,
        credentials=credentials,
        now=time.time(),
    )
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=TIMEOUT)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read(MAX_ANSWER)
    finally:
        connection.close()


def failure(doing, status, error, retried):
    """Return what to raise for an answer that is an error: an OSError if a retry may help, otherwise Refused.

    Args:
        doing: how a message begins.
        error: (code, message) of AWS, "" for what it did not say.
        retried: codes of errors that pass.
    """
    code, message = error
    problem = f"{code or status} {message}".strip()
    return OSError(problem) if status >= 500 or code in retried else Refused(f"{doing}: {problem}")


def with_retries(attempt, service, url):
    """Return what ``attempt`` returns, which is called again until the deadline. Raises Refused."""
    end = time.monotonic() + DEADLINE
    while True:
        try:
            return attempt()
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() >= end:
                raise Refused(f"{service} did not answer at {url} within {DEADLINE:.0f} s: {error}") from error
        time.sleep(RETRY_DELAY)
