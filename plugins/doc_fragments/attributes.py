# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Attributes that modules tell of themselves."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and say what it would do, without changing anything.
  diff_mode:
    description: Returns details on what has changed, or would change, in diff mode.
  idempotent:
    description: Run again with the same options, it changes nothing more.
"""

    ACTION = r"""
options: {}
attributes:
  action:
    description: Runs on the controller, in-process, as an action plugin.
    support: full
  async:
    description: Supports the task keyword C(async).
    support: none
  delegation:
    description: Can be delegated to another host than the controller. In a play of several hosts C(run_once) is needed.
    support: none
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: Only reads.
  diff_mode:
    support: N/A
    details: Only reads.
  idempotent:
    support: full
    details: Only reads.
"""
