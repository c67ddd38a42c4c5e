#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: packer_build
short_description: Build images from a Packer template
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Runs C(packer build) with anyone's template, in HCL2 or JSON, and returns what it made.
  - In check mode the template is validated, and nothing is built.
  - To bake an image only when its inputs changed, use M(immutable.infra.image).
extends_documentation_fragment:
  - immutable.infra.attributes
  - immutable.infra.packer
  - immutable.infra.packer.template
attributes:
  check_mode:
    support: full
    details: Validates the template with all its variables. What is valid would be built, so it reports a change.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Packer builds each time it is run.
options:
  on_error:
    description: What Packer does with the resources of a build that fails. With V(abort) they are left for a look.
    type: str
    choices: [cleanup, abort]
    default: cleanup
  parallel_builds:
    description: How many builds may run at the same time. By default all of them do, which V(0) says as well.
    type: int
  force:
    description: Go on where artifacts of an earlier build are in the way, and delete these.
    type: bool
    default: false
seealso:
  - module: immutable.infra.packer_validate
  - module: immutable.infra.packer_info
  - module: immutable.infra.image
"""

EXAMPLES = r"""
- name: Build one of the template's images
  immutable.infra.packer_build:
    template: /srv/images/web.pkr.hcl
    only: [web.amazon-ebs.debian]
    vars:
      region: eu-west-1
    timeout: 45m
  register: built

- name: Show the name of the image
  ansible.builtin.debug:
    msg: "{{ built.artifacts[0].id }}"

- name: Hand over a secret that no log shows
  immutable.infra.packer_build:
    template: /srv/images/web
    var_files: [common.pkrvars.hcl]
    secrets:
      repository_token: "{{ vaulted_repository_token }}"
    force: true
"""

RETURN = r"""
artifacts:
  description: What was made, each artifact once. In check mode empty.
  returned: success, and when a build failed
  type: list
  elements: dict
  contains:
    builder:
      description: Name of the build in the template.
      type: str
      sample: web.amazon-ebs.debian
    builder_id:
      description: Packer's name for the kind of builder or post-processor that made it.
      type: str
      sample: mitchellh.amazonebs
    id:
      description: The artifact's own name, whose form depends on the builder.
      type: str
      sample: eu-west-1:ami-0123456789abcdef0
    string:
      description: The artifact in words.
      type: str
    files:
      description: Absolute paths of the files it consists of.
      type: list
      elements: str
builds:
  description: Every build that ran, sorted by name. In check mode empty.
  returned: success, and when a build failed
  type: list
  elements: dict
  contains:
    name:
      description: Name of the build in the template.
      type: str
    status:
      description: One of C(succeeded), C(failed) and C(cancelled).
      type: str
    error:
      description: Why it failed, in Packer's words, else empty.
      type: str
errors:
  description: The error of each failed build, by its name.
  returned: success, and when a build failed
  type: dict
command:
  description: Packer's command line. It holds no secrets.
  returned: success, and when a build failed
  type: list
  elements: str
packer_version:
  description: Version of Packer.
  returned: success, and when a build failed
  type: str
  sample: 1.6.6
duration:
  description: How long Packer ran, in seconds.
  returned: success, and when a build failed
  type: float
output:
  description: What Packer said, at most the last 1000 lines, secrets replaced.
  returned: success, and when a build failed
  type: list
  elements: str
stopped_for:
  description: Why Packer was stopped. One of C(timeout), C(abandoned) and C(signal).
  returned: when it was stopped
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.immutable.infra.plugins.module_utils._packer.result import BuildResult
from ansible_collections.immutable.infra.plugins.module_utils._packer.task import (
    TEMPLATE_OPTIONS,
    TOOL_OPTIONS,
    invalid,
    run,
    template_arguments,
)


def work(module, packer):
    arguments = template_arguments(module)
    if module.check_mode:
        validation = packer.validate(**arguments)
        if not validation.valid:
            raise invalid(validation)
        would = BuildResult(output=validation.output, command=validation.command, packer_version=packer.version())
        return dict(would.as_dict(), changed=True)
    result = packer.build(
        on_error=module.params["on_error"],
        parallel_builds=module.params["parallel_builds"],
        force=module.params["force"],
        **arguments,
    )
    return dict(result.as_dict(), changed=True)


def main():
    own = {
        "on_error": {"type": "str", "choices": ["cleanup", "abort"], "default": "cleanup"},
        "parallel_builds": {"type": "int"},
        "force": {"type": "bool", "default": False},
    }
    run(AnsibleModule(argument_spec={**TEMPLATE_OPTIONS, **TOOL_OPTIONS, **own}, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
