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
  - Reads every file of the host's root file system and compares its type, mode, owner, extended attributes and content
    with the manifest of the host's image. Extended attributes include file capabilities and access control lists.
    Returns only the differences.
  - Finds undeclared mounts over the image, and tests that nothing is writable outside the declared places.
  - Compares the mounts and the programs of every process with the image, also in other mount namespaces. A mount of a
    single process is normal if it shows what is at that path anyway, if it only hides something, or if the image's
    unit of the process declares it with C(BindPaths) or C(BindReadOnlyPaths).
  - Finds files in C(/run) that override the configuration of the image, such as units, drop-ins, and udev rules.
    The output of generators and the scopes of logins are normal.
  - RV(not_compared) names what the module noticed but could not compare with the image. It does not look into data
    volumes, C(writable) paths and the rest of C(/run). It does not see what an interpreter of the image executes, code
    that exists only in memory, file flags such as C(immutable), or a mount namespace without a process.
  - The result is only as trustworthy as the host's own kernel and Python. Anyone who controls these can forge it.
  - Requires root on the host, and a login. Virtual machines with C(shell=off) accept no logins, so the module refuses
    to run there. Their evidence is on the console.
  - A container is compared from outside, by the machine that runs it. Nothing runs in the container, so this also works
    with C(shell=off). The module compares the files that the container's first process sees, and all mounts. It also
    compares the capabilities, the system call filter and the programs of each process. They must match the image and
    what the container was launched with.
  - With Podman, run the module for containers as the user who runs the fleet. With Docker, run it as root.
extends_documentation_fragment:
  - immutable.infra.attributes
  - immutable.infra.attributes.info
attributes:
  action:
    description: Has an action plugin, which takes the manifest from the store on the controller.
    support: full
  async:
    description: Supports the task keyword C(async).
    support: none
options:
  image:
    description:
      - The host's image, specified by its name, its digest, or a prefix of the digest.
      - The default is the host variable C(immutable_image), which the inventory P(immutable.infra.fleet#inventory)
        sets.
    type: str
  build:
    description:
      - Build of the image.
      - The default is the host variable C(immutable_build), if O(image) is the image of the host.
    type: str
  store:
    description:
      - The store, a folder or C(s3://bucket/prefix). A relative path is relative to the playbook's folder.
      - The default is the host variable C(immutable_store).
    type: path
  fail_on_drift:
    description: Whether the task fails if the host differs from its image.
    type: bool
    default: true
  limit:
    description:
      - Maximum number of differences to return, and of entries in RV(not_compared). RV(count) is the total number of
        differences.
    type: int
    default: 100
  manifest:
    description:
      - The manifest, compressed with gzip and encoded in Base64.
      - The action plugin reads it from the store. Do not set this option yourself.
    type: str
notes:
  - If the bake could not read the snapshot of an AMI or the image in Glance, the manifest is the list of files that the
    build machine sent. If there is no such list either, hosts of that image cannot be compared.
  - Images that were baked before version 0.3.0 have no extended attributes and no mount options in their manifest.
    RV(not_compared) says so.
seealso:
  - plugin: immutable.infra.fleet
    plugin_type: inventory
"""

EXAMPLES = r"""
- name: Require that every host matches its image
  hosts: sealed
  gather_facts: false
  tasks:
    - name: Compare the host with its image
      immutable.infra.host_attest:

- name: Detect drift without failing
  hosts: sealed
  gather_facts: false
  tasks:
    - name: Compare the host with its image
      immutable.infra.host_attest:
        fail_on_drift: false
      register: attestation

    - name: Show the hosts that differ
      ansible.builtin.debug:
        msg: "{{ attestation.count }} differences"
      when: not attestation.attested
"""

RETURN = r"""
attested:
  description: Whether the host matches its image in everything that was compared.
  returned: when the host could be read
  type: bool
differences:
  description: The differences, sorted by path, at most O(limit).
  returned: when the host could be read
  type: list
  elements: dict
  contains:
    kind:
      description:
        - V(changed) (content), V(missing), V(added), V(mode), V(owner), V(type) or V(link) (another link target).
        - V(covering) is an undeclared mount over the image.
        - V(unexpected_writable) is an undeclared writable place.
        - V(xattr) is another extended attribute, such as a file capability.
        - V(process_mount) is something else at this path for one process only. V(program) is a program or library that
          a process executes and that is not a file of the image. V(override) is a file in C(/run) that overrides the
          configuration of the image. V(mount_options) is a declared mount without options that it must have, such as
          C(nosuid). These kinds exist since version 0.3.0.
        - V(image) is a container of another image. V(capabilities) is a process that has more capabilities than the
          container was launched with. V(confinement) is a process that can gain privileges, whose system calls are not
          filtered, or that has a user namespace of its own. Only containers have these kinds. They exist since version
          0.3.0.
      type: str
    path:
      description: Path of the difference.
      type: str
    expected:
      description: The value in the manifest, if it has one.
      type: str
    found:
      description: The value on the host, if there is one.
      type: str
  sample:
    - kind: mode
      path: /usr/bin/notes
      expected: "0755"
      found: "4755"
count:
  description: Number of differences.
  returned: when the host could be read
  type: int
checked:
  description: Number of files, directories and other entries that were compared.
  returned: when the host could be read
  type: int
  sample: 15271
not_compared:
  description:
    - What could not be compared with the image, at most O(limit) entries. It does not affect RV(attested).
    - Examples are extended attributes of an image whose manifest has none, programs on data volumes and in
      C(writable) paths, and processes with another root file system, such as those of containers.
  returned: when the host could be read
  type: list
  elements: dict
  version_added: 0.3.0
  contains:
    subject:
      description: V(xattrs), V(process) or V(override).
      type: str
    path:
      description: Path of what was not compared, V(/) if it has no path of its own.
      type: str
    reason:
      description: Why it was not compared.
      type: str
  sample:
    - subject: process
      path: /
      reason: "process 812 (nginx) of web.service has another root file system, such as a container"
refused:
  description: Places where root tried to write and the host refused it.
  returned: when the host could be read
  type: list
  elements: str
  sample: [/, /etc, /usr]
seconds:
  description: Duration of the comparison on the host.
  returned: when the host could be read
  type: float
summary:
  description: The result in a few lines for people, also if the task fails. M(immutable.infra.show) shows them.
  returned: when the host could be reached
  type: list
  elements: str
  version_added: 0.3.0
"""

import base64
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.immutable.infra.plugins.module_utils._attest import compare, drift_message, result_of
from ansible_collections.immutable.infra.plugins.module_utils._manifest import load_manifest


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str"},
            "build": {"type": "str"},
            "store": {"type": "path"},
            "fail_on_drift": {"type": "bool", "default": True},
            "limit": {"type": "int", "default": 100},
            # This is no secret, but it is too long for logs and results.
            "manifest": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    if not module.params["manifest"]:
        module.fail_json(msg="immutable.infra.host_attest ran without its action plugin, which provides the manifest")
    if os.geteuid() != 0:
        module.fail_json(msg="only root can read every file: connect as root, or add 'become: true'")
    began = time.monotonic()
    try:
        comparison = compare(load_manifest(base64.b64decode(module.params["manifest"])))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        module.fail_json(msg=f"cannot compare this host with its image: {error}")
    result = result_of(comparison, module.params["limit"], time.monotonic() - began)
    if result["count"] and module.params["fail_on_drift"]:
        module.fail_json(msg=drift_message(result), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
