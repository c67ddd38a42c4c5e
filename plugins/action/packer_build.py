# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module does all the work; here only its task's worker is made to end with ansible-playbook.

Otherwise a killed ansible-playbook leaves the worker behind, which goes on listening to the module, and so the module and Packer go on.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.action.normal import ActionModule as NormalAction

from ..plugin_utils._core.action import end_with_parent


class ActionModule(NormalAction):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        end_with_parent()
        result: dict[str, Any] = super().run(tmp, task_vars)
        return result
