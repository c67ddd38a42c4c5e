# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Generate SSH keys, and identify a store by its secret key."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
from pathlib import Path

from .._core.errors import StoreError
from .base import Store


def make_ssh_key(private: Path, comment: str) -> None:
    """Generate an Ed25519 key pair at ``private`` and, for the public key, the same path with ``.pub`` appended.

    Raises StoreError if ssh-keygen is missing or fails.
    """
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


def store_id(store: Store) -> str:
    """Return 16 hexadecimal digits that identify the store wherever it is mounted or moved to.

    They are derived from the store's secret key and do not reveal it.
    """
    return hmac.new(store.secret_key(), b"identity", hashlib.sha256).hexdigest()[:16]
