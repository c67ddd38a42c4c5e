# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run the module in a worker that ends together with ansible-playbook. The module does all the work.

Without this, a killed ansible-playbook leaves its worker behind. The worker keeps the module and Packer running.
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
