# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The keys that a store keeps: how they are made, and by what of theirs others know the store."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
from pathlib import Path

from .._core.errors import StoreError
from .base import Store


def make_ssh_key(private: Path, comment: str) -> None:
    """Make an Ed25519 pair at ``private`` and beside it with ``.pub``. Raises StoreError."""
    try:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(private)],
            check=True,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        raise StoreError("ssh-keygen is not installed (Debian: apt install openssh-client)") from None
    except subprocess.CalledProcessError as error:
        raise StoreError(f"ssh-keygen failed: {error.stderr.strip()}") from error


def identity(store: Store) -> str:
    """Stays the same wherever the store is mounted or moved to, and tells nothing of its key."""
    return hmac.new(store.secret_key(), b"identity", hashlib.sha256).hexdigest()[:16]
