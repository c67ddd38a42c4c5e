# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The environment that Packer runs with.

Packer writes its debug log between the lines of its output, unless the log has a file of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

LOG, LOG_PATH = "PACKER_LOG", "PACKER_LOG_PATH"
VARIABLE_PREFIX = "PKR_VAR_"
_LOGGED = ("build", "validate")  # the others would replace the log of a build
# Do not check for newer versions, and do not use colors.
_ALWAYS = {"CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1"}
# A Packer that runs below another one, such as in a provisioner, inherits these. It would take itself for a part of the
# other one and write its debug log to its output.
_OF_ANOTHER_PACKER = ("PACKER_WRAP_COOKIE", "PACKER_PLUGIN_MAGIC_COOKIE")


def packer_environment(command: str, *added: Mapping[str, str], variables: bool) -> dict[str, str]:
    """Return the complete environment for a command of Packer.

    Args:
        command: such as ``build``.
        added: to the environment of this process. Later ones override earlier ones.
        variables: whether a template's variables may come from the environment of this process.
    """
    environment = {**os.environ, **_ALWAYS}
    if not variables:
        environment = {name: value for name, value in environment.items() if not name.startswith(VARIABLE_PREFIX)}
    for more in added:
        environment.update(more)
    unwanted = list(_OF_ANOTHER_PACKER)
    if command not in _LOGGED or not environment.get(LOG_PATH):
        unwanted += [LOG, LOG_PATH]
    for name in unwanted:
        environment.pop(name, None)
    return environment
