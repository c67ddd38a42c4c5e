# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The playbooks of a first definition: the one that provisions the image and the one that tests it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._core.errors import ImmutableError
from .yaml_text import comment, comments, has_template, yaml_of

_MOST_CODES = 100  # status codes that a test lists
_HEAD = "---\n"


def provision_text(
    service: str, tasks: Sequence[Mapping[str, Any]], imports: Sequence[str], left: Sequence[str]
) -> str:
    """Return the playbook that runs in the build machine.

    Args:
        imports: playbooks of the same folder that run last.
        left: what is still to be written, as sentences.

    Raises ImmutableError if a text in it would be a template.
    """
    text = _HEAD + comment("This playbook runs inside the build machine, as root, against that machine.")
    text += comment("All files in its folder are sent there, and a change to any of them makes a bake due.")
    if left:
        text += "#\n" + comment("Write these steps as tasks:") + comments(left)
    imported = [{"name": f"Run {playbook}", "ansible.builtin.import_playbook": playbook} for playbook in imports]
    plays = [_play_text(f"Install {service}", tasks)] if tasks or not imports else []
    plays += [_import_text(each) for each in imported]
    return text + "\n".join(plays)


def verify_text(service: str, health: Mapping[str, Any]) -> str:
    """Return the playbook of assertions that runs against a booted candidate."""
    text = _HEAD + comment("This playbook runs against a booted candidate. The image is released only if it passes.")
    tasks = [_http_test(health["http"])] if "http" in health else []
    if "tcp" in health:
        port = {"port": health["tcp"]["port"], "timeout": 30}
        tasks.append({"name": "Check that the service listens", "ansible.builtin.wait_for": port})
    tasks.append(
        {
            "name": "Check that undeclared paths are read-only",
            "ansible.builtin.command": {"argv": ["touch", "/usr/bin/intruder"]},
            "register": "intruder",
            "changed_when": False,
            "failed_when": "intruder.rc == 0 or 'Read-only file system' not in intruder.stderr",
        }
    )
    return text + _play_text(f"Test a {service} host", tasks)


def _http_test(probe: Mapping[str, Any]) -> dict[str, Any]:
    scheme = "https" if "https" in probe else "http"
    request: dict[str, Any] = {
        "url": f"{scheme}://127.0.0.1:{probe['port']}{probe.get('path', '/')}",
        "status_code": _codes(probe.get("status", 200)),
        "follow_redirects": "none",
    }
    if "https" in probe:
        request["validate_certs"] = False  # of a certificate that is not for this address
    return {"name": "Check that the service answers", "ansible.builtin.uri": request}


def _codes(status: Any) -> list[int]:
    """The codes of a probe, which may have ranges."""
    codes: list[int] = []
    for each in status if isinstance(status, list) else [status]:
        first, _dash, last = str(each).partition("-")
        codes += range(int(first), int(last or first) + 1)
    return codes[:_MOST_CODES]


def _play_text(name: str, tasks: Sequence[Mapping[str, Any]]) -> str:
    _refuse_templates((name, list(tasks)))
    play = {"name": name, "hosts": "all", "gather_facts": False}
    if not tasks:
        return yaml_of([{**play, "tasks": []}], flow=False)
    written = "\n".join(yaml_of([dict(task)], flow=False) for task in tasks)
    lines = "".join(f"    {line}\n" if line else "\n" for line in written.splitlines())
    return yaml_of([play], flow=False) + "  tasks:\n" + lines


def _import_text(play: Mapping[str, Any]) -> str:
    _refuse_templates(play)
    return yaml_of([dict(play)], flow=False)


def _refuse_templates(data: Any) -> None:
    """None of these playbooks needs a template, so one can only come from a text that Ansible must not evaluate."""
    if has_template(data):
        raise ImmutableError(
            "a text with {{, {% or {# would be evaluated by Ansible as a template in the playbooks that are written "
            "(allowed: paths, names and commands without them)"
        )
