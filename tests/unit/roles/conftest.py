# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.immutable.infra.tests.support.data_volume import MIB, Guest


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    guest = Guest(tmp_path)
    guest.resize(64 * MIB)
    guest.report("blank")
    guest.prepare()
    return guest


@pytest.fixture
def unused(tmp_path: Path) -> Guest:
    """A guest with a blank volume. No provider reports that it is new."""
    guest = Guest(tmp_path)
    guest.resize(64 * MIB)
    return guest
