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
  - Runs C(packer build) with any HCL2 or JSON template and returns the artifacts.
  - In check mode, the task validates the template and builds nothing.
  - To bake an image only if its inputs changed, use M(immutable.infra.image).
extends_documentation_fragment:
  - immutable.infra.attributes
  - immutable.infra.packer
  - immutable.infra.packer.template
attributes:
  check_mode:
    support: full
    details: Validates the template with all its variables. Reports a change if the template is valid.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Packer builds each time it runs.
options:
  on_error:
    description:
      - What Packer does with the resources of a failed build. V(abort) keeps them for inspection.
      - V(run-cleanup-provisioner) runs the template's C(error-cleanup-provisioner), which V(cleanup) runs as well, and
        then keeps them. It needs Packer 1.6.1 or later. HCL2 templates can contain C(error-cleanup-provisioner) since
        Packer 1.7.0.
      - The choice V(run-cleanup-provisioner) was added in version 0.3.0 of the collection.
    type: str
    choices: [cleanup, abort, run-cleanup-provisioner]
    default: cleanup
  parallel_builds:
    description:
      - Maximum number of parallel builds. By default, and with V(0), all builds run in parallel.
    type: int
  force:
    description: Continue if artifacts of an earlier build exist, and delete these artifacts.
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

- name: Show the ID of the image
  ansible.builtin.debug:
    msg: "{{ built.artifacts[0].id }}"

- name: Pass a secret that does not appear in any log
  immutable.infra.packer_build:
    template: /srv/images/web
    var_files: [common.pkrvars.hcl]
    secrets:
      repository_token: "{{ vaulted_repository_token }}"
    force: true
"""

RETURN = r"""
artifacts:
  description: The artifacts, each listed once. Empty in check mode.
  returned: success, and when a build failed
  type: list
  elements: dict
  contains:
    builder:
      description: Name of the build in the template.
      type: str
      sample: web.amazon-ebs.debian
    builder_id:
      description: Packer's ID of the type of builder or post-processor that created the artifact.
      type: str
      sample: mitchellh.amazonebs
    id:
      description: ID of the artifact. Its form depends on the builder.
      type: str
      sample: eu-west-1:ami-0123456789abcdef0
    string:
      description: Packer's description of the artifact.
      type: str
    files:
      description: Absolute paths of the artifact's files.
      type: list
      elements: str
builds:
  description: Every build that ran, sorted by name. Empty in check mode.
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
      description: Packer's error message if the build failed, otherwise empty.
      type: str
errors:
  description: The error of each failed build, keyed by the name of the build.
  returned: success, and when a build failed
  type: dict
command:
  description: Packer's command line. It contains no secrets.
  returned: success, and when a build failed
  type: list
  elements: str
packer_version:
  description: Version of Packer.
  returned: success, and when a build failed
  type: str
  sample: 1.6.6
duration:
  description: Duration of Packer's run in seconds.
  returned: success, and when a build failed
  type: float
output:
  description:
    - Packer's output, at most the last 1000 lines and 200,000 bytes. Secrets are masked. Lines of more than 1000
      characters are shortened.
  returned: success, and when a build failed
  type: list
  elements: str
stopped_for:
  description: Why Packer was stopped. One of C(timeout), C(abandoned) and C(signal).
  returned: when Packer was stopped
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.immutable.infra.plugins.module_utils._packer.flags import RUN_CLEANUP_PROVISIONER
from ansible_collections.immutable.infra.plugins.module_utils._packer.result import BuildResult
from ansible_collections.immutable.infra.plugins.module_utils._packer.task import (
    TEMPLATE_OPTIONS,
    TOOL_OPTIONS,
    run,
    template_arguments,
    validation_error,
)


def work(module, packer):
    """Build the template, or only validate it in check mode, and return the task's result."""
    arguments = template_arguments(module)
    if module.check_mode:
        validation = packer.validate(**arguments)
        if not validation.valid:
            raise validation_error(validation)
        predicted = BuildResult(output=validation.output, command=validation.command, packer_version=packer.version())
        return dict(predicted.as_dict(), changed=True)
    result = packer.build(
        on_error=module.params["on_error"],
        parallel_builds=module.params["parallel_builds"],
        force=module.params["force"],
        **arguments,
    )
    return dict(result.as_dict(), changed=True)


def main():
    own = {
        "on_error": {"type": "str", "choices": ["cleanup", "abort", RUN_CLEANUP_PROVISIONER], "default": "cleanup"},
        "parallel_builds": {"type": "int"},
        "force": {"type": "bool", "default": False},
    }
    run(AnsibleModule(argument_spec={**TEMPLATE_OPTIONS, **TOOL_OPTIONS, **own}, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
