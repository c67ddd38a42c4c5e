# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A folder with mount options for an engine that has none for folders, such as docker.

What a container mounts of a restricted mount has the same options.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..._core.errors import ProviderError
from ..._core.files import make_private_folder
from .loop_image import run_program, unmount


def restrict(source: Path, at: Path, options: Sequence[str], volume_id: str) -> Path:
    """Mount a folder a second time, with options such as ``noexec``, and return the place. Only root can.

    Raises ProviderError if an option would be lost that nothing else replaces: a container of ours ignores set-user-ID
    bits, and has no right to use devices.
    """
    if os.geteuid() != 0:
        if "noexec" in options:
            raise ProviderError(
                f"volume {volume_id}: with docker, noexec needs root (allowed: root, or engine: podman)", permanent=True
            )
        return source
    unmount(at)
    make_private_folder(at)
    run_program("mount", "--bind", "--", source, at)
    run_program("mount", "-o", f"remount,bind,{','.join(options)}", "--", at)
    return at
