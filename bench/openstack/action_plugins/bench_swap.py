# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a swap in ansible-playbook, as the action ``fleet`` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from bench.openstack.swap import swap


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core is not typed
    """The task's options are the arguments of ``swap``."""

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = dict(self._task.args)
        done = swap(Path(given.pop("folder")), **given)
        return {**result, "changed": done["changed"]}
