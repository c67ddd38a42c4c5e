# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Send commands to a running QEMU through the QEMU Machine Protocol (QMP).

Each call uses a short connection, so that nothing is held between runs.
Source: QEMU Machine Protocol Specification, https://www.qemu.org/docs/master/interop/qmp-spec.html
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..._core.documents import parse_json
from ..._core.errors import ProviderError

TIMEOUT = 10.0  # seconds for one answer
MAX_LINE = 1024**2  # characters of one answer
MAX_LINES = 1000  # events that may come before an answer


def execute(
    path: Path,
    commands: Sequence[tuple[str, Mapping[str, Any]]],
    timeout: float = TIMEOUT,
    *,
    passed: Sequence[int] = (),
) -> list[Any]:
    """Send commands over the socket at ``path`` and return the answer to each.

    Args:
        commands: (name, arguments).
        timeout: seconds for one answer.
        passed: descriptors that QEMU gets with the first command.

    Raises ProviderError with QEMU's words if it refuses a command, has ended, or does not answer.
    """
    folder = -1
    try:
        # The address of a socket is limited to 107 bytes; an open folder makes any path short.
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(timeout)
            channel.connect(f"/proc/self/fd/{folder}/{path.name}")
            with channel.makefile("rw", encoding="utf-8", newline="\n") as stream:
                stream.readline(MAX_LINE)  # the greeting
                _execute(stream, "qmp_capabilities", {})
                if passed:
                    socket.send_fds(channel, [b" "], list(passed))  # QEMU keeps them for the command that follows
                return [_execute(stream, name, arguments) for name, arguments in commands]
    except (OSError, ValueError) as error:  # ValueError: an incomplete answer of a QEMU that ended
        raise ProviderError(f"QEMU of {path.parent.name} does not answer: {error}") from error
    finally:
        if folder >= 0:
            os.close(folder)


def _execute(stream: Any, name: str, arguments: Mapping[str, Any]) -> Any:
    stream.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
    stream.flush()
    for _line in range(MAX_LINES):
        line = stream.readline(MAX_LINE)
        if not line:
            break
        answer = parse_json(line)
        if not isinstance(answer, dict):
            raise ValueError("expected an object")
        if "error" in answer:
            error = answer["error"]
            reason = error.get("desc", error) if isinstance(error, dict) else error
            raise ProviderError(f"QEMU refused {name}: {reason}")
        if "return" in answer:
            return answer["return"]
        # Anything else is an event.
    raise ProviderError(f"QEMU ended before it answered {name}")
