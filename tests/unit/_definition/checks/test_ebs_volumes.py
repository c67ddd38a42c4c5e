# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of data volumes on AWS: their limits, and what they change in what is persisted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import FleetError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.checks.ebs_volumes import volume_problems
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import DataVolume
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.model import VolumeSpec
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.recipes import refuse_other_keys
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Volume
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.volume_options import VolumeOptions

GIB = 1024**3


def problems(kind: str, size: int, iops: int = 0, throughput: int = 0) -> list[str]:
    volume = DataVolume("orders", size * GIB, "/srv/orders", type=kind, iops=iops, throughput=throughput)
    return [f"{key}: {problem}" for key, problem in volume_problems(volume)]


@pytest.mark.parametrize(
    ("kind", "size", "iops", "throughput"),
    [
        ("", 1, 3000, 125),
        ("gp3", 1, 3000, 750),
        ("gp3", 160, 80000, 2000),
        ("io1", 4, 200, 0),
        ("io2", 256, 256000, 0),
        ("st1", 125, 0, 0),
        ("sc1", 16384, 0, 0),
        ("standard", 1, 0, 0),
    ],
)
def test_what_ebs_offers_is_accepted(kind: str, size: int, iops: int, throughput: int) -> None:
    assert problems(kind, size, iops, throughput) == []


@pytest.mark.parametrize(
    ("kind", "size", "iops", "throughput", "problem"),
    [
        ("st1", 124, 0, 0, "size: a volume of the type st1 has 125 to 16384 GiB on aws, not 124 GiB"),
        ("sc1", 1, 0, 0, "size: a volume of the type sc1 has 125 to 16384 GiB on aws, not 1 GiB"),
        ("io1", 3, 0, 0, "size: a volume of the type io1 has 4 to 16384 GiB on aws, not 3 GiB"),
        ("gp3", 10, 2999, 0, "iops: must be 3000 to 80000 for the type gp3 on aws"),
        ("", 10, 5001, 0, "iops: EBS allows 500 for each GiB of the type gp3, which is 5000 for 10 GiB"),
        ("io1", 4, 201, 0, "iops: EBS allows 50 for each GiB of the type io1, which is 200 for 4 GiB"),
        ("gp2", 10, 3000, 0, "iops: cannot be chosen for the type gp2 on aws (allowed: for gp3, io1, io2)"),
        ("io2", 10, 3000, 125, "throughput: cannot be chosen for the type io2 on aws (allowed: for gp3)"),
        ("gp3", 10, 0, 2001, "throughput: must be 125 to 2000 MiB/s for the type gp3 on aws"),
        ("gp3", 100, 0, 800, "throughput: EBS allows 0.25 MiB/s for each of 3000 operations per second, which is 750"),
    ],
)
def test_what_ebs_would_refuse_is_refused(kind: str, size: int, iops: int, throughput: int, problem: str) -> None:
    (found,) = problems(kind, size, iops, throughput)
    assert found.startswith(problem)


def test_a_volume_without_options_is_written_as_in_earlier_releases() -> None:
    plain = VolumeSpec("orders", GIB, "/srv/orders", "gp3")
    assert plain.as_dict() == {"name": "orders", "size": GIB, "mount": "/srv/orders", "kind": "gp3"}
    chosen = replace(plain, iops=6000, kms_key="alias/data")
    assert VolumeSpec(**chosen.as_dict()) == chosen


def test_a_volume_keeps_its_key() -> None:
    spec = VolumeSpec("orders", GIB, "/srv/orders", kms_key="alias/data")
    common: dict[str, Any] = {"id": "vol-1", "fleet": "shop-prod", "slot": 0, "name": "orders", "size": GIB}
    volumes = [Volume(**common, options=VolumeOptions(kms_key=key)) for key in ("alias/data", "")]
    refuse_other_keys([spec], volumes[:1])
    refuse_other_keys([replace(spec, kms_key="")], volumes)
    with pytest.raises(FleetError, match=r"vol-1 \(orders of slot 0\) was created with the default key of the account"):
        refuse_other_keys([spec], volumes)
