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
  - Lists the images of a store, newest first. Each entry contains the image's inputs, its base, the tests that it
    passed and the channels that point to it.
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
      - List only this image, specified by its name, its digest, or a digest prefix of at least six characters.
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

- name: Show the images that are not verified
  ansible.builtin.debug:
    msg: "{{ shop.images | rejectattr('verified') | map(attribute='name') }}"
"""

RETURN = r"""
images:
  description: The images, newest first.
  returned: success
  type: list
  elements: dict
  contains:
    digest:
      description: The image's identity, a checksum of all inputs of its bake.
      type: str
    build:
      description: Provider and architecture, or V(packer) for an image built from your own template.
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
        - V(restricted) if hosts that run the image accept logins with one key, or V(off) if they accept no logins.
      type: str
    seconds:
      description: Duration of the bake in seconds.
      type: float
    checksums:
      description:
        - SHA-256 checksums in hexadecimal. The key C(disk) has the checksum of the image's disk. Manifest and SBOM have
          their file names as keys.
        - Missing for images that release 0.2.0 baked.
      type: dict
      version_added: 0.3.0
    name:
      description: Service, version and the first characters of the digest.
      type: str
    base:
      description: The base that the image was built on.
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
      description: When the image passed its tests, and which checks it passed. Null if it is not verified.
      type: dict
    owners:
      description: Owner of each data volume in the image, as C(uid:gid). The keys are the names of the volumes.
      returned: if the image's data volumes and their owners are known
      type: dict
      version_added: 0.3.0
    revoked:
      description: When the image was revoked (C(at)), by whom (C(by)) and why (C(reason)). Null if it is not revoked.
      type: dict
      version_added: 0.2.0
    channels:
      description: Channels that point to the image.
      type: list
      elements: str
    artifact:
      description: Artifact that the provider launches instances from.
      type: dict
    provenance:
      description:
        - The tools that baked the image, where they ran, and the duration of the bake (C(seconds)). Since 0.3.0, also
          the C(stages) of the bake that took longest, each with C(name) and C(seconds).
      type: dict
    files:
      description:
        - Paths or C(s3://) URLs of the image's C(manifest), C(sbom) and Packer C(log) in the store. Files that the
          bake did not keep are omitted.
      type: dict
left_out:
  description:
    - Number of entries left out of each list, by the path of the list, if the result would exceed 600,000 bytes. A
      warning reports the same numbers. The image's record in the store is complete.
  returned: when entries are missing
  type: dict
  version_added: 0.3.0
"""
