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
  - An image is removed with everything that belongs to it. With QEMU this is its disk. On AWS it is the AMI with its
    snapshots, in every region that the AMI was copied to. The manifest, the SBOM and the record are removed as well.
  - Whatever its age, an image is kept if a channel points at it, if a rollback would return to it, if the last swap
    of any fleet in the store starts or ends with it, or if any instance runs it.
  - On AWS an image is also kept while something in the account refers to it in any of its regions. This can be an
    instance in any state except terminated, any version of a launch template, a launch configuration, the parameter
    of a promotion or an Auto Scaling group. It is also kept while another account can launch it.
  - Before an image is removed it is marked as revoked, so that no channel and no swap can use it. Then all conditions
    are checked once more. The next run resumes an interrupted removal.
  - A removed image is baked again if its definition requires it.
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
      - Keep images that are younger than this, such as V(12h), V(2d) or V(0s).
      - An image that was not verified is removed only if it is older than this and a later image was verified.
    type: str
    default: 1d
  shared:
    description:
      - Also remove images that other AWS accounts can launch. These accounts can then no longer launch instances of
        them.
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

- name: Keep the newest three images and all images of the last week
  immutable.infra.image_prune:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    target: prod
    keep: 3
    older_than: 7d
"""

RETURN = r"""
kept:
  description: Images that are kept, the newest first.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Service, version and the first digits of the digest.
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
      description: Channels that point at the image.
      type: list
      elements: str
    why:
      description: Every reason to keep the image. In RV(removed) the reason to remove it.
      type: list
      elements: str
removed:
  description: Images that were removed, or would be removed in check mode, in the same form as RV(kept).
  returned: success
  type: list
  elements: dict
"""
