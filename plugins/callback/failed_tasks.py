# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: failed_tasks
type: notification
short_description: Write each failed task as a line of JSON to a file
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Used by M(immutable.infra.image_verify) and M(immutable.infra.fleet) to learn which task of a playbook failed, without reading what is
    meant for people.
  - Does nothing unless a path is given. Results of tasks with C(no_log) are not written.
options:
  path:
    description: File that the lines are appended to.
    type: path
    env:
      - name: IMMUTABLE_FAILED_TASKS
"""

import json
from typing import Any

from ansible.plugins.callback import CallbackBase


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
        # Public since 2.19, where the attributes with an underscore are deprecated.
        task = getattr(result, "task", None) or result._task
        host = getattr(result, "host", None) or result._host
        said = getattr(result, "result", None) or result._result
        message = "hidden by no_log" if said.get("_ansible_no_log") or task.no_log else str(said.get("msg", ""))
        line = {"task": task.get_name(), "host": host.get_name(), "path": task.get_path(), "message": message}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
