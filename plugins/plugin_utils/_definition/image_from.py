# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the image of a target comes from if another target bakes it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from .._aws.clients import Account
from .._openstack.cloud import Cloud

HandOver = Literal["share", "copy"]  # how an image gets from the account that bakes it to another
WAYS: tuple[HandOver, ...] = get_args(HandOver)


@dataclass(frozen=True)
class ImageFrom:
    """The target that bakes the image of another one, in its own account or project.

    Attributes:
        target: its name.
        account: where it bakes on AWS.
        cloud: where it bakes on OpenStack.
    """

    how: HandOver
    target: str
    account: Account = field(default_factory=Account)
    cloud: Cloud = field(default_factory=Cloud)
