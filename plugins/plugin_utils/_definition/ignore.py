# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which files beside the playbook are neither inputs of the digest nor sent to the build machine."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any

from .._core.bounded_yaml import TooLargeError, read_bounded
from .._core.errors import DefinitionError
from .._core.packer_manifest import is_packer_manifest

try:
    import pathspec
except ImportError:
    pathspec = None  # type: ignore[assignment, unused-ignore]  # reported when it is needed

IGNORE_FILE = ".immutableignore"
KEPT_FOLDER = ".immutable-kept"  # has artifacts of earlier builds of a user's own template
# Files of version control, editors and tools.
IGNORED = (
    KEPT_FOLDER,
    *(".git", ".hg", ".svn", ".ansible", ".cache", ".molecule", "__pycache__", "*.pyc", "*.retry", ".DS_Store"),
    *("*~", ".*.sw?", "#*#", ".#*", "*.bak", "*.orig"),
)
# Files whose name says that they hold passwords or keys of the user.
_PRIVATE = (
    *(".vault_pass*", ".vault-pass*", "vault_pass*.txt", "vault-pass*.txt"),
    *(".env", ".env.*", "!.env.example", "!.env.sample", "!.env.template", "!.env*.j2"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_ecdsa_sk", "id_ed25519_sk"),
    *(".ssh/", ".gnupg/", ".aws/", ".kube/", ".netrc", ".pgpass", ".pypirc", ".git-credentials"),
    *("*.tfstate", "*.tfstate.*"),
)
# What an operator keeps beside the definition once there is an image: inventories of the running hosts, and reports
# under the playbook's default name.
_OPERATOR = ("*immutable_fleet.yml", "*immutable_fleet.yaml", "immutable-report.html")
_PACKER_CACHE = "packer_cache/"  # where a user's own template is beside the playbook
_DEFAULTS = (
    _PACKER_CACHE,
    *(f"\\{name}" if name.startswith("#") else name for name in IGNORED),
    *_PRIVATE,
    *_OPERATOR,
)
_KEY_FILES = ("*.pem", "*.key")  # certificates have such names, too
_KEY_MARKS = (b"PRIVATE KEY-----",)
_KEY_BYTES = 64 * 1024  # a key may follow a chain of certificates


class IgnoreRules:
    """The default patterns, followed by those of a definition's ``.immutableignore``. The last match decides."""

    def __init__(self, folder: Path) -> None:
        """Read the patterns of the definition in ``folder``. Raises DefinitionError."""
        self._folder = folder
        self._lines = [*_DEFAULTS, f"/{IGNORE_FILE}", *_own_lines(folder / IGNORE_FILE)]
        self._spec = _spec_of(self._lines, folder / IGNORE_FILE)

    def reason(self, path: Path, *, is_folder: bool = False) -> str | None:
        """Return the pattern, or a few words, that leave out a path below the definition's folder, or None.

        Raises DefinitionError for a second ``.immutableignore``, and OSError.
        """
        relative = path.relative_to(self._folder).as_posix()
        found = self._spec.check_file(f"{relative}/" if is_folder else relative)
        if found.include:
            return str(self._lines[found.index])
        if path.name == IGNORE_FILE:
            raise DefinitionError(f"{path} is not read; move its patterns to {self._folder / IGNORE_FILE}")
        if found.include is not None or is_folder:
            return None
        if _holds_private_key(path):
            return "a private key"
        return "a manifest of Packer" if is_packer_manifest(path) else None


def _own_lines(path: Path) -> list[str]:
    try:
        lines = read_bounded(path).decode("utf-8-sig").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TooLargeError) as error:
        raise DefinitionError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return [line for line in lines if line.strip()]


def _spec_of(lines: list[str], path: Path) -> Any:
    if pathspec is None:
        raise DefinitionError(
            "the Python package pathspec is missing on the controller; "
            "install it in the environment of ansible-core (pip install pathspec)"
        )
    try:
        return pathspec.GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise DefinitionError(f"{path}: {error} (allowed: patterns as in .gitignore)") from error


def _holds_private_key(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    if not any(fnmatch.fnmatchcase(path.name, pattern) for pattern in _KEY_FILES):
        return False
    with path.open("rb") as file:
        head = file.read(_KEY_BYTES)
    return any(mark in head for mark in _KEY_MARKS)
