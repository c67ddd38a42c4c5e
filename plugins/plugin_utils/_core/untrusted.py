# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hand data from outside to Ansible, so that no text in it is taken for a template.

Tags, addresses and records in a shared store can be written by others than the user who runs Ansible. Ansible evaluates
each text of an inventory or a variable file as a template, and a template can run commands on the controller.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def untrusted_json(data: Any) -> bytes:
    """Return plain data (JSON types) as a JSON file that Ansible loads with every text marked unsafe.

    Names of hosts, groups and variables, which are keys, are not marked. (The tag ``!unsafe`` of YAML is no
    alternative: ansible-core 2.19 and later read ``!unsafe "1.10"`` as a number.)
    """
    return json.dumps(_marked(data)).encode("ascii")


def marked_text(text: str) -> Any:
    """Return a text as Ansible's JSON for a text that is no template."""
    return {"__ansible_unsafe": text}


def _marked(data: Any) -> Any:
    if isinstance(data, str):
        return marked_text(data)
    if isinstance(data, Mapping):
        return {str(key): _marked(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_marked(value) for value in data]
    return data
