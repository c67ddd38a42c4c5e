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
  - Lists the images of a store, the newest first. Each image comes with its inputs, its base, the tests that it
    passed and the channels that point at it.
extends_documentation_fragment:
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.info
options:
  service:
    description: List only images of this service.
    type: str
  image:
    description:
      - List only this image, given by its digest, by at least six digits of the digest, or by its name.
      - The task fails if the image does not exist.
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

- name: Show the images that were never verified
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
      description: The service that the image belongs to.
      type: str
    version:
      description: Version of the service.
      type: str
    created:
      description: When the image was baked, in UTC.
      type: str
    shell:
      description:
        - Whether hosts that run the image accept logins with one key (V(restricted)) or no logins at all (V(off)).
      type: str
    seconds:
      description: How long the bake took.
      type: float
    name:
      description: Service, version and the first digits of the digest.
      type: str
    base:
      description: The base that the image was baked on.
      type: dict
    lineage:
      description:
        - The image's base (C(base)) and the digest of the previous image of its service and build (C(previous)), or
          null.
      type: dict
    inputs:
      description: Every input of the digest.
      type: dict
    verified:
      description: When the image passed its tests, and which checks it passed, or null.
      type: dict
    revoked:
      description: When the image was revoked (C(at)), by whom (C(by)) and why (C(reason)), or null.
      type: dict
      version_added: 0.2.0
    channels:
      description: Channels that point at the image.
      type: list
      elements: str
    artifact:
      description: What the provider starts instances from.
      type: dict
    provenance:
      description: Which tools baked the image, where, and how long the bake took.
      type: dict
    files:
      description:
        - Paths or C(s3://) URLs of the image's C(manifest), C(sbom) and Packer C(log) in the store. Files that the
          bake did not keep are missing.
      type: dict
"""
