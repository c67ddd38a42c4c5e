# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a data volume has beyond its size and type, if its provider offers that."""

from __future__ import annotations

from dataclasses import dataclass

from .._core.errors import ProviderError


@dataclass(frozen=True)
class VolumeOptions:
    """0 and "" stand for the provider's default. In a modification, they keep what the volume has."""

    iops: int = 0  # operations per second
    throughput: int = 0  # MiB per second
    kms_key: str = ""  # that encrypts it, as it was requested

    def missing_in(self, present: VolumeOptions) -> bool:
        """Whether a volume with the options ``present`` must be modified to have these. A key cannot be changed."""
        return self.iops not in (0, present.iops) or self.throughput not in (0, present.throughput)


NO_OPTIONS = VolumeOptions()


def refuse_options(options: VolumeOptions) -> None:
    """Raise ProviderError for options, which a definition cannot declare for a provider that has none."""
    if options != NO_OPTIONS:
        raise ProviderError(f"volumes of this provider have no options: {options}")
