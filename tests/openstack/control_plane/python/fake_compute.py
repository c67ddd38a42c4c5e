# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""nova-compute with Nova's fake driver, whose snapshots become active.

The driver's own snapshot uploads nothing and leaves the image queued forever.
"""

from __future__ import annotations

import io

from nova.cmd import compute  # first: it replaces modules of the standard library
from nova.compute import task_states
from nova.image import glance
from nova.virt import fake

main = compute.main


def snapshot(self, context, instance, image_id, update_task_state):
    """Upload a few bytes, which name the instance."""
    if instance.uuid not in self.instances:
        raise fake.exception.InstanceNotRunning(instance_id=instance.uuid)
    update_task_state(task_state=task_states.IMAGE_UPLOADING)
    images = glance.API()
    image = {
        "status": "active",
        "name": images.get(context, image_id)["name"],
        "disk_format": "raw",
        "container_format": "bare",
        "properties": {},
    }
    content = io.BytesIO(b"snapshot of " + instance.uuid.encode())
    images.update(context, image_id, image, content, purge_props=False)


fake.FakeDriver.snapshot = snapshot
