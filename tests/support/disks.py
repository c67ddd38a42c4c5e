# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Disks for tests that boot nothing."""

from __future__ import annotations

# The header of a qcow2 disk that names no other file.
HEADER = b"QFI\xfb" + bytes([0, 0, 0, 3]) + bytes(104)
