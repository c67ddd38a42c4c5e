# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check that the tags of a target on AWS fit on its resources, next to those of this collection.

AWS allows 50 tags on a resource, see https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html. An instance
has the most: the tags that it is launched with, and marks that are added later.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..._aws.instances import MAX_LAUNCHED
from ..._aws.tags import MAX_TAGS, MAX_VALUE, NAME_KEY
from ..document import Document
from ..ebs_options import TAG_OPTIONS
from ..fleet import AUTOSCALING
from ..model import DataVolume, Definition, Target

# Tags of an instance that take one tag each, without the health settings, the slots and the attempts.
SINGLE = 19
MARKS = 3  # tainted, protected, standby: room for each of them
OF_BAKE = 6  # on an AMI and what a bake creates
DIGITS_OF_ATTEMPTS = 2


def check_number_of_tags(document: Document, definition: Definition) -> None:
    """Add a problem for each target on AWS whose tags do not fit on its resources."""
    for name, target in definition.targets.items():
        if target.provider != "aws" or not (target.tags or target.build.options):
            continue
        of_bakes = [{**target.tags, **target.build.options.get(kind, {})} for kind in TAG_OPTIONS]
        of_bake = max(len({*tags} - {NAME_KEY}) for tags in of_bakes) + OF_BAKE
        own = len({*target.tags} - {NAME_KEY})
        needed = tags_of_instance(target, definition.data)
        if target.tags and needed > MAX_TAGS and target.fleet.engine != AUTOSCALING:
            document.add_problem(
                ("targets", name, "tags"),
                f"an instance would need {len(target.tags)} tags of the target, {needed - own - MARKS} of this "
                f"collection, {MARKS} for marks that may be added later: {needed} in all, but AWS allows {MAX_TAGS}; "
                f"remove {needed - MAX_TAGS}",
            )
        elif of_bake > MAX_TAGS:
            document.add_problem(
                ("targets", name),
                f"an AMI would need {of_bake} tags: {of_bake - OF_BAKE} of tags and build.options, {OF_BAKE} of this "
                f"collection, but AWS allows {MAX_TAGS}; remove {of_bake - MAX_TAGS}",
            )


def tags_of_instance(target: Target, data: Sequence[DataVolume]) -> int:
    """The largest number of tags that an instance of the target can need."""
    batch = min(target.fleet.size, MAX_LAUNCHED)
    slots = ",".join(map(str, range(target.fleet.size)[-batch:]))
    texts = [
        json.dumps(target.health.as_dict(), sort_keys=True),
        slots,
        "9" * (batch * (DIGITS_OF_ATTEMPTS + 1) - 1),
        ",".join(volume.name for volume in data),
    ]
    return SINGLE + MARKS + sum(max(1, -(-len(text) // MAX_VALUE)) for text in texts) + len({*target.tags} - {NAME_KEY})
