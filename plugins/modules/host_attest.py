#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: host_attest
short_description: Compare a host with the manifest of its image
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Reads every file of the host's root file system and compares type, mode, owner and content with the manifest of the image that the
    host was launched from. Only differences come back.
  - Finds what is mounted over the image without being declared, and tries that nothing can be written outside the declared places.
  - It tells what the host's own kernel and Python tell. Who controls those can make it tell anything.
  - Needs root on the host, and a login. Hosts with C(shell=off) let nobody in, so it refuses there; what they say on their console is
    their evidence.
extends_documentation_fragment:
  - immutable.infra.attributes
  - immutable.infra.attributes.info
attributes:
  action:
    description: A part runs on the controller, where it takes the manifest from the store.
    support: full
  async:
    description: Supports the task keyword C(async).
    support: none
options:
  image:
    description:
      - Digest, name or the first digits of the digest of the host's image.
      - The default is the host's variable C(immutable_image), which the inventory P(immutable.infra.fleet#inventory) sets.
    type: str
  build:
    description: The image's build. The default is the host's variable C(immutable_build), if O(image) is its image as well.
    type: str
  store:
    description:
      - The store, a folder or C(s3://bucket/prefix). A relative path starts at the playbook's folder.
      - The default is the host's variable C(immutable_store).
    type: path
  fail_on_drift:
    description: Whether differences make the task fail.
    type: bool
    default: true
  limit:
    description: The most differences that are returned. RV(count) tells how many there are.
    type: int
    default: 100
  manifest:
    description: The manifest, compressed by gzip, in Base64. It is found in the store and handed over by itself.
    type: str
notes:
  - File capabilities and other extended attributes are in no manifest, so a change of them alone is not found.
seealso:
  - plugin: immutable.infra.fleet
    plugin_type: inventory
"""

EXAMPLES = r"""
- name: Insist that every host is what was baked
  hosts: sealed
  gather_facts: false
  tasks:
    - name: Compare it with its image
      immutable.infra.host_attest:

- name: Look for drift without failing
  hosts: sealed
  gather_facts: false
  tasks:
    - name: Compare it with its image
      immutable.infra.host_attest:
        fail_on_drift: false
      register: attestation

    - name: Name the hosts that differ
      ansible.builtin.debug:
        msg: "{{ attestation.count }} differences"
      when: not attestation.attested
"""

RETURN = r"""
attested:
  description: Whether the host is its image, in all that was compared.
  returned: when the host could be read
  type: bool
differences:
  description: What differs, by path, O(limit) at most.
  returned: when the host could be read
  type: list
  elements: dict
  contains:
    kind:
      description:
        - V(changed) (content), V(missing), V(added), V(mode), V(owner), V(type) or V(link) (another target).
        - V(covering) is a mount over the image that was not declared.
        - V(unexpected_writable) is a place that can be written to without being declared.
      type: str
    path:
      description: Where.
      type: str
    expected:
      description: What the manifest says. Left out where it says nothing.
      type: str
    found:
      description: What is there. Left out where nothing is.
      type: str
  sample:
    - kind: mode
      path: /usr/bin/notes
      expected: "0755"
      found: "4755"
count:
  description: How many differences there are.
  returned: when the host could be read
  type: int
checked:
  description: How many files, directories and other entries were compared.
  returned: when the host could be read
  type: int
  sample: 15271
refused:
  description: Places where writing was tried, as root, and refused.
  returned: when the host could be read
  type: list
  elements: str
  sample: [/, /etc, /usr]
seconds:
  description: How long the comparison took on the host.
  returned: when the host could be read
  type: float
"""

import base64
import gzip
import json
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.immutable.infra.plugins.module_utils._attest import compare


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str"},
            "build": {"type": "str"},
            "store": {"type": "path"},
            "fail_on_drift": {"type": "bool", "default": True},
            "limit": {"type": "int", "default": 100},
            # No secret, but too long for logs and results.
            "manifest": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    if not module.params["manifest"]:
        module.fail_json(msg="immutable.infra.host_attest was run without its action, which hands over the manifest")
    if os.geteuid() != 0:
        module.fail_json(msg="only root can read every file: connect as root, or add 'become: true'")
    began = time.monotonic()
    try:
        manifest = json.loads(gzip.decompress(base64.b64decode(module.params["manifest"])).decode("ascii"))
        comparison = compare(manifest)
    except (OSError, EOFError, ValueError, TypeError) as error:
        module.fail_json(msg=f"cannot compare this host with its image: {error}")
    count = len(comparison.differences)
    result = {
        "changed": False,
        "attested": count == 0,
        "differences": [each.as_dict() for each in comparison.differences[: max(0, module.params["limit"])]],
        "count": count,
        "checked": comparison.checked,
        "refused": comparison.refused,
        "seconds": round(time.monotonic() - began, 2),
    }
    if count and module.params["fail_on_drift"]:
        first = comparison.differences[0].as_dict()
        module.fail_json(msg=f"this host differs from its image in {count} places, first {first['path']} ({first['kind']})", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
