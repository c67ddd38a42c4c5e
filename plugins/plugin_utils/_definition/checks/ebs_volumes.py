# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check that EBS has volumes of the sizes and with the performance that a definition declares.

Sources: https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html, with the limits of gp3 since September
2025, and the parameters Iops and Throughput in the reference of CreateVolume.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..._aws.ebs import DEFAULT_TYPE
from ..._core.gibibytes import GIB
from ..document import Document
from ..model import DataVolume, Definition
from ..providers import RULES

GP3_IOPS, GP3_THROUGHPUT = 3000, 125  # that each gp3 volume has
THROUGHPUT_PER_IOPS = 0.25  # MiB per second
OPTIONS = ("iops", "throughput", "kms_key")


@dataclass(frozen=True)
class Limits:
    """Of one volume type: sizes in GiB, operations per second, and MiB per second. (0, 0): it cannot be chosen."""

    size: tuple[int, int]
    iops: tuple[int, int] = (0, 0)
    iops_per_gib: int = 0
    throughput: tuple[int, int] = (0, 0)


LIMITS = {
    "gp3": Limits((1, 65536), (GP3_IOPS, 80000), 500, (GP3_THROUGHPUT, 2000)),
    "gp2": Limits((1, 16384)),
    "io1": Limits((4, 16384), (100, 64000), 50),
    "io2": Limits((4, 65536), (100, 256000), 1000),
    "st1": Limits((125, 16384)),
    "sc1": Limits((125, 16384)),
    "standard": Limits((1, 1024)),
}


def check_ebs_volumes(document: Document, definition: Definition) -> None:
    """Add a problem for each data volume that EBS would refuse, or whose options a target's provider has not."""
    providers = {target.provider for target in definition.targets.values()}
    for number, volume in enumerate(definition.data):
        for target in definition.targets.values():
            for key in () if RULES[target.provider].ebs_options else OPTIONS:
                if getattr(volume, key):
                    document.add_problem(
                        ("data", number, key),
                        f"the provider {target.provider} of target {target.name} ignores this key, which is for aws; "
                        "remove it",
                    )
        for key, problem in volume_problems(volume) if "aws" in providers else ():
            document.add_problem(("data", number, key), problem)


def volume_problems(volume: DataVolume) -> Iterator[tuple[str, str]]:
    """Yield the key and the description of each mistake."""
    kind = volume.type or DEFAULT_TYPE
    limits, size = LIMITS.get(kind), -(-volume.size // GIB)
    if limits is None:  # the check of types reports it
        return
    if not limits.size[0] <= size <= limits.size[1]:
        yield "size", f"a volume of the type {kind} has {limits.size[0]} to {limits.size[1]} GiB on aws, not {size} GiB"
    if volume.iops:
        yield from _iops_problems(volume.iops, kind, limits, size)
    if not volume.throughput:
        return
    low, high = limits.throughput
    iops = volume.iops or GP3_IOPS
    if not high:
        yield "throughput", f"cannot be chosen for the type {kind} on aws (allowed: for gp3)"
    elif not low <= volume.throughput <= high:
        yield "throughput", f"must be {low} to {high} MiB/s for the type {kind} on aws"
    elif volume.throughput > max(GP3_THROUGHPUT, iops * THROUGHPUT_PER_IOPS):
        yield (
            "throughput",
            f"EBS allows {THROUGHPUT_PER_IOPS} MiB/s for each of {iops} operations per second, which is "
            f"{iops * THROUGHPUT_PER_IOPS:g} MiB/s; raise iops to {int(volume.throughput / THROUGHPUT_PER_IOPS)}",
        )


def _iops_problems(iops: int, kind: str, limits: Limits, size: int) -> Iterator[tuple[str, str]]:
    low, high = limits.iops
    most = max(limits.iops_per_gib * size, GP3_IOPS if kind == DEFAULT_TYPE else 0)
    if not high:
        yield "iops", f"cannot be chosen for the type {kind} on aws (allowed: for gp3, io1, io2)"
    elif not low <= iops <= high:
        yield "iops", f"must be {low} to {high} for the type {kind} on aws"
    elif iops > most:
        yield (
            "iops",
            f"EBS allows {limits.iops_per_gib} for each GiB of the type {kind}, which is {most} for {size} GiB; "
            "use a larger size or fewer iops",
        )
