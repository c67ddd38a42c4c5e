#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: image_prune
short_description: Remove images that are no longer needed
version_added: 0.2.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Removes old images of a service from a target's provider and keeps the newest verified ones.
  - The task removes everything that belongs to an image. With QEMU, this is its disk. With containers, it is the
    archive and the engine's copy of it. On AWS, it is the AMI with its snapshots, in every region that the AMI was
    copied to. On OpenStack, it is the image in Glance. The manifest, the SBOM and the record are removed as well.
  - "An image is kept regardless of age if any of these applies:"
  - A channel points to it.
  - A rollback would use it.
  - The last swap of any fleet in the store starts or ends with it.
  - An instance runs it.
  - On AWS, another account can launch it, unless O(shared) is set.
  - On AWS, something refers to it in any of its regions. This can be an instance that is not terminated, a version of a
    launch template, a launch configuration, the parameter of a promotion or an Auto Scaling group.
  - On OpenStack, a server boots it or may be reimaged back to it.
  - On OpenStack, other projects can launch it, unless O(shared) is set.
  - Before it removes an image, the task marks it as revoked, so that no channel and no swap can use it. Then it
    checks all conditions once more. The next run resumes an interrupted removal.
  - A container engine keeps copies of images and of bases in its own store. With Podman, the task also removes those
    that no image on record, no current base and no container needs.
  - If the definition still requires a removed image, the next bake recreates it.
extends_documentation_fragment:
  - immutable.infra.options
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.changes
options:
  keep:
    description: How many of the newest verified images to keep, at least 1. Revoked images do not count.
    type: int
    default: 5
  older_than:
    description:
      - Keep images that are newer than this, such as V(12h), V(2d) or V(0s).
      - An unverified image is removed only if it is older than this and a newer image is verified.
    type: str
    default: 1d
  shared:
    description:
      - Also remove images that other AWS accounts or OpenStack projects can launch. Afterwards, these accounts and
        projects can no longer launch instances of such an image.
    type: bool
    default: false
seealso:
  - module: immutable.infra.image
  - module: immutable.infra.image_info
  - module: immutable.infra.sweep
"""

EXAMPLES = r"""
- name: Show which images would be removed, and why the others would be kept
  immutable.infra.image_prune:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
  check_mode: true
  register: shop_images

- name: Keep the three newest images and all images of the last week
  immutable.infra.image_prune:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    target: prod
    keep: 3
    older_than: 7d
"""

RETURN = r"""
kept:
  description: Images that are kept, newest first.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Service, version and the first characters of the digest.
      type: str
    digest:
      description: The image's identity.
      type: str
    build:
      description: Provider and architecture.
      type: str
    version:
      description: Version of the service.
      type: str
    created:
      description: When the image was baked, in UTC.
      type: str
    verified:
      description: Whether the image passed its tests.
      type: bool
    channels:
      description: Channels that point to the image.
      type: list
      elements: str
    why:
      description: Every reason to keep the image. In RV(removed), the reason to remove it.
      type: list
      elements: str
removed:
  description: Images that were removed, or would be removed in check mode, in the same form as RV(kept).
  returned: success
  type: list
  elements: dict
copies:
  description:
    - Copies that were removed from Podman's store, or would be removed in check mode. These are images whose record is
      gone, and bases from which no recorded image was baked.
    - Only the Podman store in the folder of O(store) is searched.
  returned: when there are such copies
  type: list
  elements: str
  version_added: 0.3.0
summary:
  description: The result in a few lines for people, also if the task fails. M(immutable.infra.show) shows them.
  returned: when the options are valid
  type: list
  elements: str
  version_added: 0.3.0
left_out:
  description:
    - Number of entries left out of each list, by the path of the list, if the result would exceed 600,000 bytes. A
      warning reports the same numbers. The progress output has a line for each removed image.
  returned: when entries are missing
  type: dict
  version_added: 0.3.0
"""
