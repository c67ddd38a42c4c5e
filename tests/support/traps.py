# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What must never run: Python modules in a folder of the user, and a template in text from outside.

Each trap leaves a trace in a file, the witness, which does not exist before.
"""

from __future__ import annotations

from pathlib import Path

NAMES = ("ansible", "pip", "json", "yaml", "runpy", "sitecustomize", "usercustomize", "encodings", "importlib")


def write_modules(folder: Path, witness: Path) -> None:
    """Write modules to a folder, with names that an interpreter or Ansible imports early."""
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"open({str(witness)!r}, 'a').write({name!r})\n")


def template(witness: Path) -> str:
    """A text that creates the witness if Ansible takes it for a template."""
    return f"{{{{ lookup('ansible.builtin.pipe', 'touch {witness}') }}}}"
