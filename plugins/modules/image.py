#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: image
short_description: Bake a machine image when it is due
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Bakes an image with Packer from a definition, or from a Packer template of your own, and only when something that goes into it changed.
  - With a definition the playbook runs inside the build machine against itself. The guest needs Python and nothing else, and nothing of Ansible stays.
    Everything that is sent there lives in the guest's memory, and the finished disk is searched for what must not stay in it.
  - A manifest of every file and a CycloneDX SBOM are taken from the image and kept in the store.
  - For targets on AWS the image is an AMI, baked by Packer's amazon-ebs in the region that the definition says. It is not looked at from outside, so nothing is
    searched for in its disk, and it has no manifest. Its SBOM is made of what the build machine gathers.
  - Shows a line for each stage of Packer and each task in the guest as it happens. The whole log is kept in the store.
extends_documentation_fragment:
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
attributes:
  check_mode:
    support: full
    details: Says whether a bake is due and why. Nothing is built.
  diff_mode:
    support: full
    details: Names each input that differs from the newest image of the service.
  idempotent:
    support: full
    details: An unchanged definition or template is not baked again.
options:
  definition:
    description:
      - Path of the definition, the versioned YAML document of one service.
      - A folder stands for the file C(immutable.yml) in it. A relative path starts at the playbook's folder.
      - One of O(definition) and O(template) is required.
    type: path
  template:
    description:
      - A Packer template of your own, HCL2 or JSON, a file or a folder. It is used unchanged.
      - Its digest covers O(service), O(version), every file of its folder, O(vars), the contents of O(var_files) and O(inputs), and the
        names of O(secrets). What builds leave in the folder is no input (recorded artifacts, C(packer_cache), C(output-*)).
      - It is due again when a file that the build made is gone. The ids of AMIs are recorded by region; whether they are still there is not asked.
    type: path
  target:
    description:
      - Names of targets in the definition. Targets that agree on the image share it, others are baked side by side.
    type: list
    elements: str
    default: [local]
  service:
    description: Name of the service that the images of a O(template) belong to. Required with O(template).
    type: str
  version:
    description: Version of the images of a O(template). Required with O(template).
    type: str
  vars:
    description: Variables for a O(template).
    type: dict
    default: {}
  var_files:
    description: Variable files for a O(template).
    type: list
    elements: path
    default: []
  secrets:
    description: Secret variables for a O(template). They are in no argument, log or digest.
    type: dict
    default: {}
  inputs:
    description: Further files and folders that a O(template) depends on.
    type: list
    elements: path
    default: []
  force:
    description: Bake although nothing changed.
    type: bool
    default: false
  timeout:
    description:
      - How long Packer may take, such as V(45m). Then it is stopped and cleans up.
      - By default what the definition says in C(build.timeout) of the target, or an hour. With O(template) it may take any time by default.
    type: str
  executable:
    description: Packer's path or name.
    type: str
    default: packer
seealso:
  - module: immutable.infra.image_verify
  - module: immutable.infra.image_info
  - module: immutable.infra.packer_build
"""

EXAMPLES = r"""
- name: Bake the shop's image when its definition changed
  immutable.infra.image:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable

- name: Bake for two targets and tell why
  immutable.infra.image:
    definition: /srv/shop/immutable.yml
    target: [staging, prod]
    store: /var/lib/immutable
  register: baked

- name: Tell it
  ansible.builtin.debug:
    var: baked.why

- name: Keep a template of your own from building what it has built already
  immutable.infra.image:
    template: /srv/router/router.pkr.hcl
    service: router
    version: "7"
    vars:
      mirror: https://mirror.example.com
    store: /var/lib/immutable
"""

RETURN = r"""
due:
  description: Whether a bake was due.
  returned: success
  type: bool
why:
  description: Why it was due, or why not. Reasons that differ between targets are each told with the targets they are for.
  returned: success
  type: str
differences:
  description: Each input that differs from the newest image, with C(path), C(before) and C(after), over all targets for which a bake was due.
  returned: success
  type: list
  elements: dict
image:
  description: The image of the first target, as M(immutable.infra.image_info) tells it. Null in check mode when a bake is due.
  returned: success
  type: dict
images:
  description: The image of each target, by target; of a O(template) by its service.
  returned: success
  type: dict
log:
  description: Path of Packer's whole log. That of an image is kept with it, see M(immutable.infra.image_info).
  returned: when Packer failed, or the image held what must not stay in it
  type: str
console:
  description: The last lines of the build machine's console.
  returned: when Packer failed with a O(definition)
  type: list
  elements: str
residue:
  description: What was found in the image that must not stay there, and where.
  returned: when there was such
  type: list
  elements: str
"""
