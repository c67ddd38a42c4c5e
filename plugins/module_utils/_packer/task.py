# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the packer modules have in common: options, and the conversion of errors to failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._bounded import MAX_MESSAGE, shortened
from .._duration import DURATIONS, parse_duration
from .._plain_text import plain_text
from .calls import Call
from .errors import PackerError
from .redact import MASK
from .runner import Packer, Validation

TEMPLATE_OPTIONS: dict[str, Any] = {
    "template": {"type": "path", "required": True},
    "chdir": {"type": "path"},
    "vars": {"type": "dict", "default": {}},
    "var_files": {"type": "list", "elements": "path", "default": []},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "only": {"type": "list", "elements": "str", "default": []},
    "except": {"type": "list", "elements": "str", "default": []},
    "env": {"type": "dict", "default": {}},
}
TOOL_OPTIONS: dict[str, Any] = {
    "executable": {"type": "path"},
    "timeout": {"type": "str"},
}


def run(module: AnsibleModule, work: Callable[[AnsibleModule, Packer], dict[str, Any]]) -> None:
    """Call ``work`` with the module and its Packer, and exit the module with its result or error."""
    try:
        result = work(module, Packer(module.params["executable"], watch_output=True, variables=True))
    except PackerError as error:
        _hide_secrets(module)
        # Some of several builds may have succeeded.
        module.fail_json(
            msg=shortened(plain_text(error.message), MAX_MESSAGE),
            changed=bool(error.details.get("artifacts")),
            **error.details,
        )
    _hide_secrets(module)
    module.exit_json(**result)


def _hide_secrets(module: AnsibleModule) -> None:
    """Keep the secrets out of the shown arguments, and Ansible from masking data that contains the same words.

    The texts of a result are masked already.
    """
    secrets = module.params.get("secrets") or {}
    shown = {name: module.params[name] for name in ("vars", "env") if module.params.get(name)}
    if shown:
        redactor = Call("", "", secrets=secrets, environment=shown.get("env", {})).redactor()
        module.params.update(redactor.data(shown))
    if secrets:
        module.params["secrets"] = dict.fromkeys(secrets, MASK)
    module.no_log_values.clear()


def timeout_of(module: AnsibleModule) -> float | None:
    """Return the option ``timeout`` in seconds. Raises PackerError if it is not a duration."""
    text = module.params["timeout"]
    return None if text is None else parse_timeout(text)


def parse_timeout(text: str) -> float:
    """Return a timeout in seconds. Raises PackerError if it is not a duration of more than zero."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise PackerError(f"timeout: {json.dumps(text)} is not a duration (allowed: more than zero: {DURATIONS})")
    return seconds


def template_arguments(module: AnsibleModule) -> dict[str, Any]:
    """Return the options of ``TEMPLATE_OPTIONS`` as keyword arguments of ``Packer.build`` and ``Packer.validate``."""
    params = module.params
    return {
        "template": params["template"],
        "cwd": params["chdir"],
        "vars": params["vars"],
        "var_files": params["var_files"],
        "secrets": params["secrets"],
        "only": params["only"],
        "except_": params["except"],
        "environment": {name: str(value) for name, value in params["env"].items()},
        "timeout": timeout_of(module),
    }


def validation_error(validation: Validation, **details: Any) -> PackerError:
    """Return the error for an invalid template: its first problem, with file and line."""
    problems = validation.diagnostics
    first = next((problem for problem in problems if problem.severity == "error"), problems[0])
    position = f"{first.file}:{first.line}: " if first.file else ""
    more = len(problems) - 1
    return PackerError(
        f"{position}{first.summary}{f' (and {more} more, see diagnostics)' if more else ''}",
        **validation.as_dict(),
        **details,
    )
