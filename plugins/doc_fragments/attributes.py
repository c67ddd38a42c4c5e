# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Attributes that the modules share."""

from __future__ import annotations


class ModuleDocFragment:
    # For every module.
    DOCUMENTATION = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/immutable.infra.immutable) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - immutable.infra.immutable
  check_mode:
    description: Can run in check mode and predict what it would change, without changing anything.
  diff_mode:
    description: Returns details of what changed, or would change in check mode, when in diff mode.
  idempotent:
    description: A second run with the same options changes nothing more.
"""

    # For modules that run on the controller as an action plugin.
    ACTION = r"""
options: {}
attributes:
  action:
    description: Has an action plugin, which does all of the work on the controller.
    support: full
  async:
    description: Supports the task keyword C(async).
    support: none
  delegation:
    description: Supports the task keyword C(delegate_to).
    support: none
    details: The task always runs on the controller. Set C(run_once) in a play with several hosts.
"""

    # For modules that change something and support every mode.
    CHANGES = r"""
options: {}
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

    # For modules that only read.
    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: This module only reads.
  diff_mode:
    support: N/A
    details: This module only reads.
  idempotent:
    support: full
    details: This module only reads.
"""
