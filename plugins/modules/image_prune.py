#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: image_prune
short_description: Remove images that nothing needs any more
version_added: 0.2.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Removes old images of a service that are held by a target's provider, and keeps the newest verified ones.
  - An image goes with all that is its own. With QEMU this is its disk; on AWS its AMI in every region that it was copied to, with the snapshots. Its manifest,
    its SBOM and its record go in either case.
  - An image stays, whatever its age, that a channel points at, that a rollback would go back to, that the last swap of any fleet of the store is to or
    from, or that any instance runs. On AWS it also stays while an instance in any state but terminated, any version of a launch template, a launch
    configuration, the parameter of a promotion or an Auto Scaling group of the account refers to it, in any of its regions, and while another account may
    launch it.
  - An image that is to go is first marked as revoked, so that no channel and no swap takes it up, and then all is looked at once more. A run that was
    killed is gone on with by the next one.
  - An image that was removed is baked again when its definition asks for it.
extends_documentation_fragment:
  - immutable.infra.options.definition
  - immutable.infra.options.target
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  keep:
    description: How many of the newest verified images stay, those that were revoked not counted. 1 at least.
    type: int
    default: 5
  older_than:
    description:
      - Leave alone what was baked later than this, such as V(12h), V(2d) or V(0s).
      - What was not verified yet goes only once it is this old and a later image was verified.
    type: str
    default: 1d
  shared:
    description: Also remove images that other AWS accounts may launch. They cannot launch any more instances of them then.
    type: bool
    default: false
seealso:
  - module: immutable.infra.image
  - module: immutable.infra.image_info
  - module: immutable.infra.sweep
"""

EXAMPLES = r"""
- name: Tell what would go, and why the rest would stay
  immutable.infra.image_prune:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
  check_mode: true
  register: shop_images

- name: Keep the newest three, and all of the last week
  immutable.infra.image_prune:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    target: prod
    keep: 3
    older_than: 7d
"""

RETURN = r"""
kept:
  description: Images that stay, the newest first.
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
      description: When it was baked, in UTC.
      type: str
    verified:
      description: Whether it passed its tests.
      type: bool
    channels:
      description: Channels that point at it.
      type: list
      elements: str
    why:
      description: Every reason to keep it. In RV(removed) the one to remove it.
      type: list
      elements: str
removed:
  description: Images that were removed, in check mode those that would be; each as in RV(kept).
  returned: success
  type: list
  elements: dict
"""
