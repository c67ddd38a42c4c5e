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
  - Bakes an image with Packer from a definition or from your own Packer template. A bake is due only if an input of
    the image has changed.
  - With a definition, the playbook runs inside the build machine, against the build machine itself. The guest needs
    only Python, and no part of Ansible stays in the image. Everything that is sent to the guest stays in the guest's
    memory. The task searches the finished disk for data that must not stay in it.
  - The task generates a manifest of all files and a CycloneDX SBOM, and keeps both in the store.
  - For targets on AWS, the image is an AMI. Packer's amazon-ebs builder bakes it in the region that the definition
    sets. The task reads the AMI's snapshot with the EBS direct APIs.
  - For targets on OpenStack, Packer's openstack builder bakes an image in Glance, and the task downloads it.
  - If the snapshot or the image cannot be read, or has a file system other than ext2, ext3 and ext4, it is not searched
    for secrets. Its manifest and its SBOM then come from data that the build machine gathers. C(inspected) in the
    image's C(provenance) says so.
  - The task streams a line for each stage of Packer and each task in the guest. It keeps the complete log in the
    store.
extends_documentation_fragment:
  - immutable.infra.options
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.changes
attributes:
  check_mode:
    details: Returns whether a bake is due and why. Nothing is built.
  diff_mode:
    details: Lists each input that differs from the newest image of the service.
  idempotent:
    details: An unchanged definition or template is not baked again.
options:
  definition:
    description:
      - Path of the definition, the versioned YAML document that describes one service.
      - If the path is a folder, the file C(immutable.yml) in that folder is used. A relative path is relative to the
        playbook's folder.
      - One of O(definition) and O(template) is required.
    required: false
  template:
    description:
      - Path of your own Packer template. It can be an HCL2 or JSON file, or a folder. It is used unchanged.
      - Its digest covers O(service), O(version), every file in its folder, O(vars), the contents of O(var_files) and
        O(inputs), and the names of O(secrets).
      - What builds write is not an input. This covers recorded artifacts, the files of a C(manifest) post-processor,
        folders named C(packer_cache), stores, and the folders C(output-*) and the file C(crash.log) directly beside
        the template. A file that changes during a build is not an input either, unless Git tracks it, until somebody
        else changes it.
      - Files of version control and editors, such as C(.git) and C(*~), are not inputs.
      - Before a build, artifacts of earlier images in the folder of the template, or of the same template, are moved
        away, so that the build cannot overwrite them. Those whose place is free after the build are moved back. The
        others stay in the store, or with a store in S3, in C(.immutable-kept) beside the template. The
        module M(immutable.infra.image_info) returns the current paths.
      - A bake is also due if a file that the last build created no longer exists. The IDs of AMIs are recorded by
        region. The task does not check whether these AMIs still exist.
    type: path
  target:
    description:
      - Names of targets in the definition. Targets that need the same image share it. Other images are baked in
        parallel.
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
    description:
      - Variables for a O(template). They are recorded in clear among the inputs of the image.
      - Variables of the environment, such as C(PKR_VAR_region), have no effect. They would be inputs that are not
        recorded.
      - A vaulted value is handled like a value of O(secrets) instead.
      - A value arrives as it is given, or it is refused before Packer starts, such as text with C({{), which Packer
        evaluates as a template.
    type: dict
    default: {}
  var_files:
    description: Variable files for a O(template).
    type: list
    elements: path
    default: []
  secrets:
    description: Secret variables for a O(template). They do not appear in any argument, log or digest.
    type: dict
    default: {}
  inputs:
    description:
      - Additional files and folders that a O(template) depends on. A file that is named here is always an input.
      - The digest names a path by its last part, or by the path relative to the playbook if several have the same last
        part.
    type: list
    elements: path
    default: []
  force:
    description:
      - Bake even if nothing changed.
      - With O(template), Packer also replaces output that no image in the store needs. It does not replace AMIs of
        the same name if another image of O(service) has one.
    type: bool
    default: false
  timeout:
    description:
      - Timeout for Packer, such as V(45m). When it expires, the task stops Packer, and Packer cleans up.
      - With a definition, the default is C(build.timeout) of the target, or one hour. With O(template), there is no
        limit by default.
    type: str
  executable:
    description: Path or name of the C(packer) binary.
    type: str
    default: packer
seealso:
  - module: immutable.infra.image_verify
  - module: immutable.infra.image_info
  - module: immutable.infra.packer_build
"""

EXAMPLES = r"""
- name: Bake the shop's image if its definition changed
  immutable.infra.image:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable

- name: Bake for two targets
  immutable.infra.image:
    definition: /srv/shop/immutable.yml
    target: [staging, prod]
    store: /var/lib/immutable
  register: baked

- name: Show why a bake was due
  ansible.builtin.debug:
    var: baked.why

- name: Build your own template only if it changed
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
  description: Why a bake was due, or why not. If the reasons differ, each is listed with its targets.
  returned: success
  type: str
differences:
  description:
    - Each input that differs from the newest image, with C(path), C(before) and C(after). Covers all targets for
      which a bake was due.
  returned: success
  type: list
  elements: dict
image:
  description:
    - The image of the first target, in the same form as in M(immutable.infra.image_info). Null in check mode if a
      bake is due.
  returned: success
  type: dict
images:
  description: The images, keyed by target. With a O(template), the image, keyed by its service.
  returned: success
  type: dict
log:
  description:
    - Path of Packer's complete log. M(immutable.infra.image_info) returns the path of a finished image's log.
  returned: when Packer failed, or when the image contained data that must not stay in it
  type: str
console:
  description: The last lines of the build machine's console.
  returned: when Packer failed with a O(definition)
  type: list
  elements: str
residue:
  description: Data that was found in the image but must not stay in it, with its locations.
  returned: when such data was found
  type: list
  elements: str
summary:
  description: The result in a few lines for people, also if the task fails. M(immutable.infra.show) shows them.
  returned: when the options are valid
  type: list
  elements: str
  version_added: 0.3.0
left_out:
  description:
    - Number of entries left out of each list, by the path of the list, if the result would exceed 600,000 bytes. A
      warning reports the same numbers. The image's record in the store is complete.
  returned: when entries are missing
  type: dict
  version_added: 0.3.0
"""
