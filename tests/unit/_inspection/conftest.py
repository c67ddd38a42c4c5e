# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible_collections.immutable.infra.tests.support.small_disk import qcow2_image, raw_image

__all__ = ["qcow2_image", "raw_image"]
