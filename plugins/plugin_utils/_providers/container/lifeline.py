# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A program that removes the containers of a verification if the run that started them is killed.

    lifeline COMMAND ...

It reads lines from its standard input: a sign and the name of a container, which is added or taken off. At the end of
the input, which the kernel closes when the run ends, it runs the command with the names that are left.
"""

from __future__ import annotations

import subprocess
import sys
import time

_TRIES = 5  # the run may have been killed while the engine created the container
_WAIT = 1.0  # seconds between two tries


def main(command: list[str]) -> None:
    """Wait for the end of the run."""
    names: dict[str, None] = {}
    for line in sys.stdin:
        name = line[1:].strip()
        if line.startswith("+"):
            names[name] = None
        else:
            names.pop(name, None)
    for _try in range(_TRIES if names else 0):
        if subprocess.run([*command, *names], check=False).returncode == 0:
            return
        time.sleep(_WAIT)


if __name__ == "__main__":
    main(sys.argv[1:])
