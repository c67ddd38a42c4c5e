# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What several rooms know about EBS."""

from __future__ import annotations

DEFAULT_TYPE = "gp3"  # of data volumes
