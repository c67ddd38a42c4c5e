# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands on the host of a service that accepts logins, through Ansible, as a user would run them."""

from __future__ import annotations

import json
import subprocess

from .machines import PIPED, Service


def run_on_host(service: Service, *argv: str) -> str:
    """Run a command as root on the only host of a service, and return its output. It must succeed."""
    arguments = json.dumps({"argv": argv})
    done = subprocess.run(
        ["ansible", "-i", str(service.inventory()), "sealed", "-m", "ansible.builtin.command", "-a", arguments],
        **PIPED,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return str(done.stdout).partition(" >>\n")[2].strip()
