# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read how ansible-playbook itself was called, to run child playbooks in the same way."""

from __future__ import annotations

from pathlib import Path

from ansible import constants as C
from ansible import context as cli

from .playbook import PlaybookRun


def playbook_run() -> PlaybookRun:
    """Return what runs child playbooks. Ansible's own command line is known only inside an action."""
    return PlaybookRun(_vault_arguments(), _configuration())


def _vault_arguments() -> tuple[str, ...]:
    """Return the vault ids that ansible-playbook got. A password that was typed at a prompt cannot be passed on."""
    given = [source for source in cli.CLIARGS.get("vault_ids") or () if not source.endswith("@prompt")]
    files = cli.CLIARGS.get("vault_password_files") or ()
    absolute = [_absolute_vault_id(source) for source in (*given, *files)]
    return tuple(argument for source in absolute for argument in ("--vault-id", source))


def _absolute_vault_id(source: str) -> str:
    label, at, path = source.rpartition("@")
    return f"{label}{at}{Path(path).expanduser().absolute()}"


def _configuration() -> dict[str, str]:
    paths = {"ANSIBLE_COLLECTIONS_PATH": ":".join(C.config.get_config_value("COLLECTIONS_PATHS") or [])}
    if C.CONFIG_FILE:
        paths["ANSIBLE_CONFIG"] = str(C.CONFIG_FILE)
    return paths
