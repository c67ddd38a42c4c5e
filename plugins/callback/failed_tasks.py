# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: failed_tasks
type: notification
short_description: Write each failed task to a file as one line of JSON
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - M(immutable.infra.image_verify) and M(immutable.infra.fleet) use this callback to find out which task of a playbook
    failed. They do not have to parse human-readable output.
  - The callback does nothing unless O(path) is set. It does not write results of tasks with C(no_log).
options:
  path:
    description: File to append the lines to.
    type: path
    env:
      - name: IMMUTABLE_FAILED_TASKS
"""

import json
from typing import Any

from ansible.plugins.callback import CallbackBase

from ..module_utils._bounded import shortened


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "immutable.infra.failed_tasks"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._write(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._write(result)

    def _write(self, result: Any) -> None:
        path = self.get_option("path")
        if not path:
            return
        # ansible-core 2.19 made these attributes public and deprecated the names with an underscore.
        task = getattr(result, "task", None) or result._task
        host = getattr(result, "host", None) or result._host
        outcome = getattr(result, "result", None) or result._result
        hidden = outcome.get("_ansible_no_log") or task.no_log
        message = "hidden by no_log" if hidden else shortened(str(outcome.get("msg", "")))
        line = {"task": task.get_name(), "host": host.get_name(), "path": task.get_path(), "message": message}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
