#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: List images with their lineage
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Lists the images of a store, the newest first. Each tells its inputs, its base, what it passed, and which channels point at it.
extends_documentation_fragment:
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.info
options:
  service:
    description: Only images of this service.
    type: str
  image:
    description: Only this image, by digest, by at least six digits of it, or by name. It must exist.
    type: str
seealso:
  - module: immutable.infra.image
"""

EXAMPLES = r"""
- name: List the shop's images
  immutable.infra.image_info:
    store: /var/lib/immutable
    service: shop
  register: shop

- name: Name those that were never verified
  ansible.builtin.debug:
    msg: "{{ shop.images | rejectattr('verified') | map(attribute='name') }}"
"""

RETURN = r"""
images:
  description: The images, the newest first.
  returned: success
  type: list
  elements: dict
  contains:
    digest:
      description: The image's identity, a checksum over all inputs of its bake.
      type: str
    build:
      description: Provider and architecture, or V(packer) for an image of a template of your own.
      type: str
    service:
      description: The service that it belongs to.
      type: str
    version:
      description: Version of the service.
      type: str
    created:
      description: When it was baked, in UTC.
      type: str
    shell:
      description: Whether hosts made of it let one key in (V(restricted)) or nobody (V(off)).
      type: str
    seconds:
      description: How long the bake took.
      type: float
    name:
      description: Service, version and the first digits of the digest.
      type: str
    base:
      description: What it was baked on.
      type: dict
    lineage:
      description: What it was baked on (C(base)), and the digest of the image of its service and build that was made before it (C(previous)), or null.
      type: dict
    inputs:
      description: Every input of the digest.
      type: dict
    verified:
      description: When it passed which checks, or null.
      type: dict
    revoked:
      description: When it was revoked (C(at)), by whom (C(by)) and why (C(reason)), or null.
      type: dict
    channels:
      description: Channels that point at it.
      type: list
      elements: str
    artifact:
      description: What its provider starts it from.
      type: dict
    provenance:
      description: Which tools baked it, where and how long it took.
      type: dict
    files:
      description: Paths, or C(s3://) URLs, of its C(manifest), C(sbom) and Packer's C(log) in the store, as far as its bake kept them.
      type: dict
"""
