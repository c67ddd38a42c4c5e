#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: definition_info
short_description: Load and check a definition, return its digest and explain differences
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Loads the definition of a service and checks all of it. If anything is wrong, the task fails and reports all
    mistakes together, each with its line.
  - Returns the definition with all defaults, and the digest. The digest identifies the image that the current
    definition describes.
  - Lists the files that a bake sends to the build machine.
  - Looks up a base on AWS or OpenStack with the credentials of the target. Otherwise, it uses the network only for a
    store in S3.
  - If O(compare_with) is set, the task lists each input of the digest that differs from the image's inputs.
  - Does not create a store. In an existing store, it only caches the checksum of a base that is your own file.
extends_documentation_fragment:
  - immutable.infra.options
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.info
options:
  store:
    description:
      - The store that holds images and bases, a folder or C(s3://bucket/prefix). It is required for O(compare_with),
        and for the digest, because the base is an input of the digest.
      - A relative path is relative to the playbook's folder.
      - Without a store, or if the folder does not exist yet, the task checks the definition but returns no digest.
    type: path
  compare_with:
    description:
      - The image to compare with, specified by its name, its digest, or a digest prefix of at least six characters.
      - Requires O(store), and the base must exist.
    type: str
seealso:
  - module: immutable.infra.image
  - module: immutable.infra.image_info
"""

EXAMPLES = r"""
- name: Check a definition without a store and without a bake
  immutable.infra.definition_info:
    definition: immutable.yml

- name: Find out what a bake would change compared with the running image
  immutable.infra.definition_info:
    definition: immutable.yml
    target: prod
    store: /var/lib/immutable
    compare_with: shop-1.4.1-5f2c07d1e9ab
  register: shop

- name: Show the differences
  ansible.builtin.debug:
    msg: "{{ shop.explain }}"
"""

RETURN = r"""
definition:
  description: The definition. Only the names of its vaulted variables are returned, not their values.
  returned: success
  type: dict
  contains:
    path:
      description: Path of the definition.
      type: str
    service:
      description: Name of the service.
      type: str
    version:
      description: Version of the service.
      type: str
    base:
      description:
        - The base of the chosen target's images, with its kind (V(debian), V(qcow2) or V(url)) and source.
      type: dict
    provision:
      description: The playbook of the bake, with its variables, variable files and requirements.
      type: dict
    verify:
      description: The playbook that tests the image, or null.
      type: str
    data:
      description:
        - The data volumes, each with name, size in bytes, mount and type. An empty type means the provider's default.
      type: list
      elements: dict
    writable:
      description: Writable paths whose contents are lost when the host is removed.
      type: list
      elements: str
    shell:
      description: V(restricted) if hosts accept logins with one key, or V(off) if they accept no logins.
      type: str
    targets:
      description: Names of all targets.
      type: list
      elements: str
target:
  description: The chosen target, with all its overrides merged in. Durations are in seconds, sizes in bytes.
  returned: success
  type: dict
digest:
  description: The digest of the current definition. Null if it cannot be computed yet.
  returned: success
  type: str
  sample: sha256:5f2c07d1e9ab6bb1d0b0f8e9a2c4a1f1c8a3a9c5d7e1f30b8a6f4d2c1b0a9e8d
digest_missing:
  description: Why the digest cannot be computed yet. Null if it can.
  returned: success
  type: str
inputs:
  description: Every input of the digest. Null if there is no digest.
  returned: success
  type: dict
verify_digest:
  description:
    - Checksum of everything that an image is tested with. If it changes, a verification is due but no bake.
  returned: success
  type: str
payload:
  description:
    - What a bake sends to the build machine from the definition's folder. Paths are relative to that folder.
    - Files below the playbook's folder are left out if they match a default pattern or one in C(.immutableignore).
  returned: success
  type: dict
  version_added: 0.3.0
  contains:
    files:
      description: The files and links that are sent. They are inputs of the digest.
      type: list
      elements: str
      sample: [provision.yml, templates/shop.conf]
    left_out:
      description: The files and folders that are not sent, with the pattern or the reason.
      type: list
      elements: dict
      sample: [{path: .vault_pass, reason: ".vault_pass*"}, {path: files/tls.key, reason: a private key}]
    refused:
      description:
        - Files that Ansible's configuration names as vault passwords or private keys, with what names them. A bake
          fails as long as there are any.
      type: list
      elements: dict
      sample: [{path: vault.txt, reason: vault_password_file of /srv/shop/ansible.cfg}]
compared_with:
  description: Digest of the image that the definition was compared with.
  returned: when O(compare_with) is set
  type: str
differences:
  description:
    - Each input that differs, with its path and its values before (in the image) and after (in the definition).
  returned: when O(compare_with) is set
  type: list
  elements: dict
explain:
  description: The same differences as text, one line each.
  returned: when O(compare_with) is set
  type: list
  elements: str
  sample: ["image.vars.shop_port: 8080 -> 8081", "tree:templates/shop.conf: 3f9a51c2d07e -> 81b2c96a0d4f"]
problems:
  description: Every mistake in the definition, one line each.
  returned: when the definition is wrong
  type: list
  elements: str
  sample:
    - 'immutable.yml:14: fleet.surge: "two" is neither a count nor a percentage (allowed: an integer from 1, or "25%")'
"""
