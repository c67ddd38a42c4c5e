# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The few commands of QEMU's machine protocol that the provider needs.

One short connection a call, so that nothing is held between runs.
Source: QEMU's "QEMU Machine Protocol Specification".
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..._core.errors import ProviderError

TIMEOUT = 10.0  # seconds for one answer


def execute(path: Path, commands: Sequence[tuple[str, Mapping[str, Any]]], timeout: float = TIMEOUT) -> list[Any]:
    """Send commands over the socket at ``path`` and return each one's answer.

    Raises ProviderError with QEMU's words when one is refused, or when QEMU is gone or does not answer.
    """
    folder = -1
    try:
        # The address of a socket is limited to 107 bytes; an open folder makes any path short.
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(timeout)
            channel.connect(f"/proc/self/fd/{folder}/{path.name}")
            with channel.makefile("rw", encoding="utf-8", newline="\n") as stream:
                stream.readline()  # the greeting
                return [_ask(stream, name, arguments) for name, arguments in (("qmp_capabilities", {}), *commands)][1:]
    except (OSError, ValueError) as error:  # ValueError: half an answer of a QEMU that ended
        raise ProviderError(f"QEMU of {path.parent.name} does not answer: {error}") from error
    finally:
        if folder >= 0:
            os.close(folder)


def _ask(stream: Any, name: str, arguments: Mapping[str, Any]) -> Any:
    stream.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
    stream.flush()
    for line in stream:
        answer = json.loads(line)
        if "error" in answer:
            raise ProviderError(f"QEMU refused {name}: {answer['error'].get('desc', answer['error'])}")
        if "return" in answer:
            return answer["return"]
        # anything else is an event
    raise ProviderError(f"QEMU ended before it answered {name}")
