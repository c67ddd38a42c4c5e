# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The name of what a bake creates in a cloud under a name, and the removal of its key from the image."""

from __future__ import annotations


def bake_resource_name(store_id: str, digest_hex: str) -> str:
    """Return a name that is the same for each bake of an image and store.

    So the next bake replaces what a killed one left.
    """
    return f"immutable-{store_id}-bake-{digest_hex[:12]}"


def remove_key_command(key_name: str, user: str) -> str:
    """Shell that removes the bake's key from the guest. The cloud writes it there with this name as its comment."""
    files = f'/root/.ssh/authorized_keys "$(getent passwd {user} | cut -d: -f6)/.ssh/authorized_keys"'
    return f'for file in {files}; do if [ -f "$file" ]; then sed -i \'/ {key_name}$/d\' "$file"; fi; done'
