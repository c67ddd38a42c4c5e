#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: definition_info
short_description: Load and check a definition, tell its digest, explain what differs
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Loads a service's definition and checks all of it. When anything is wrong the task fails with every mistake at once, each with its line.
  - Returns the definition with defaults filled in, and the digest, which is the identity of the image that it stands for now.
  - A base on AWS is looked up there, with the credentials of the target; all else is read on this machine.
  - With O(compare_with) it names each input of the digest that differs from an image's.
  - Uses the network only for a store in S3, and makes no store. In a store that is there it keeps only the checksum of a base that is a file of your own.
requirements:
  - jsonschema
extends_documentation_fragment:
  - immutable.infra.options.definition
  - immutable.infra.options.target
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.info
options:
  store:
    description:
      - Where images and bases are kept, a folder or C(s3://bucket/prefix). Needed for the digest, since the base is one of its inputs, and for
        O(compare_with).
      - A relative path starts at the playbook's folder.
      - Without it, or while the folder is not there, the definition is checked and the digest is left out.
    type: path
  compare_with:
    description:
      - An image to compare with, by digest, by at least six digits of it, or by name.
      - Needs O(store), and the base must be there.
    type: str
seealso:
  - module: immutable.infra.image
  - module: immutable.infra.image_info
"""

EXAMPLES = r"""
- name: Check a definition, without a store or anything built
  immutable.infra.definition_info:
    definition: immutable.yml

- name: Ask what a bake would change against what is running
  immutable.infra.definition_info:
    definition: immutable.yml
    target: prod
    store: /var/lib/immutable
    compare_with: shop-1.4.1-5f2c07d1e9ab
  register: shop

- name: Tell it
  ansible.builtin.debug:
    msg: "{{ shop.explain }}"
"""

RETURN = r"""
definition:
  description: The definition. Its vaulted variables are told by name only.
  returned: success
  type: dict
  contains:
    path:
      description: Where it stands.
      type: str
    service:
      description: Name of the service.
      type: str
    version:
      description: Version of the service.
      type: str
    base:
      description: What the chosen target's images are baked on, with its kind (V(debian), V(qcow2) or V(url)) and source.
      type: dict
    provision:
      description: The playbook of the bake, with its variables, files of variables and requirements.
      type: dict
    verify:
      description: The playbook of assertions, or null.
      type: str
    data:
      description: The volumes, each with name, size in bytes, mount and type; an empty type is the provider's own.
      type: list
      elements: dict
    writable:
      description: Paths that can be written to and die with the host.
      type: list
      elements: str
    shell:
      description: Whether hosts let one key in (V(restricted)) or nobody (V(off)).
      type: str
    targets:
      description: Names of all targets.
      type: list
      elements: str
target:
  description: The chosen target, with all that it overrides merged in. Durations are seconds, sizes are bytes.
  returned: success
  type: dict
digest:
  description: The identity of the image that the definition stands for now, or null where it cannot be told yet.
  returned: success
  type: str
  sample: sha256:5f2c07d1e9ab6bb1d0b0f8e9a2c4a1f1c8a3a9c5d7e1f30b8a6f4d2c1b0a9e8d
digest_missing:
  description: Why the digest cannot be told yet, or null.
  returned: success
  type: str
inputs:
  description: Every input of the digest, or null without one.
  returned: success
  type: dict
verify_digest:
  description: Checksum over what an image is tested by. When it changes, a verification is due but no bake.
  returned: success
  type: str
compared_with:
  description: Digest of the image compared with.
  returned: when O(compare_with) is given
  type: str
differences:
  description: Each input that differs from the image's, with path, before (in the image) and after (in the definition).
  returned: when O(compare_with) is given
  type: list
  elements: dict
explain:
  description: The same, a line each.
  returned: when O(compare_with) is given
  type: list
  elements: str
  sample: ["image.vars.shop_port: 8080 -> 8081", "tree:templates/shop.conf: 3f9a51c2d07e -> 81b2c96a0d4f"]
problems:
  description: Every mistake, a line each.
  returned: when the definition is wrong
  type: list
  elements: str
  sample: ['immutable.yml:14: fleet.surge: "two" is neither a count nor a percentage (allowed: an integer from 1, or "25%")']
"""
