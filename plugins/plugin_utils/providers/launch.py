# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a launch hands to the guest, as the guest's launch unit reads it."""
from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping


def launch_document(members: Mapping[str, bytes]) -> bytes:
    """The tarball that the guest's launch unit unpacks into /run/immutable. Secrets are readable by root alone."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in sorted(members.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o400 if name.startswith("secrets/") else 0o444
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
