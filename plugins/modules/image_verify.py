#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: image_verify
short_description: Boot a candidate image and test it before it is used
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Boots the image as new instances with scratch volumes. The first instance is launched exactly as in production. It
    must prove which image it runs, seal itself and pass its health probe. The second instance accepts a one-time key,
    so that the definition's verify playbook can run against it.
  - The playbook runs in a child C(ansible-playbook) process with the user's configuration and vault passwords. The task
    streams its output.
  - The test instances are always removed. The next verification of the same service and target removes the leftovers
    of an interrupted run.
  - An AMI that passed its tests is copied to the region of every target of the definition that shares it. Each copy
    is encrypted with that target's C(build.kms_key). If the target is in a different region from the AMI, the copy is
    made before the tests, because the test instances boot there.
  - The next run resumes copies that an interrupted run started and creates missing ones. It does not repeat the tests.
  - An image that passed its tests is not tested again until the definition's verify playbook, health probes or data
    volumes change.
extends_documentation_fragment:
  - immutable.infra.options
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.changes
attributes:
  check_mode:
    details: Returns whether a verification is due, and the regions to copy the image to. Nothing is booted.
  diff_mode:
    support: none
options:
  image:
    description:
      - The image to verify, specified by its name, its digest, or a digest prefix of at least six characters.
      - The default is the image that the current definition describes.
    type: str
  force:
    description: Retest an image that already passed its tests.
    type: bool
    default: false
  timeout:
    description:
      - Timeout for the whole verification, such as V(15m).
      - Within it, the test instances have as much time as in a swap. They must seal themselves within
        C(health.boot_deadline) of the definition and then pass their health probe within C(health.deadline), each time
        multiplied by the number of test instances, because they start at once.
    type: str
    default: 30m
  lock_timeout:
    description:
      - How long to wait while another run verifies an image of the same service and target, such as V(90s) or V(10m).
      - By default, the task does not wait.
    type: str
    default: 0s
    version_added: 0.3.0
seealso:
  - module: immutable.infra.image
  - module: immutable.infra.channel
"""

EXAMPLES = r"""
- name: Boot and test the baked image
  immutable.infra.image_verify:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    timeout: 15m
"""

RETURN = r"""
image:
  description: The image. The key C(verified) lists the checks that it passed.
  returned: success
  type: dict
due:
  description: Whether a verification was due.
  returned: success
  type: bool
why:
  description: Why a verification was due, or why not.
  returned: success
  type: str
copied:
  description: Regions that the image was copied to, or would be copied to in check mode.
  returned: success
  type: list
  elements: str
  version_added: 0.2.0
accounts:
  description:
    - Other AWS accounts or OpenStack projects that can launch the image now, or could in check mode, each with its
      region, such as C(123456789012/eu-west-1). See C(image_from) of a target.
  returned: when a target in another account could not launch it before
  type: list
  elements: str
  version_added: 0.3.0
checks:
  description: The checks that the image passed.
  returned: when the image was tested
  type: list
  elements: str
failed_tasks:
  description: The failed tasks of the verify playbook, each with task, host, path and message.
  returned: when the playbook failed
  type: list
  elements: dict
last_lines:
  description: The last lines of the verify playbook's output.
  returned: when the playbook failed or timed out
  type: list
  elements: str
consoles:
  description: The last lines of the test instances' consoles, by slot.
  returned: when an instance failed a check
  type: dict
summary:
  description: The result in a few lines for people, also if the task fails. M(immutable.infra.show) shows them.
  returned: when the options are valid
  type: list
  elements: str
  version_added: 0.3.0
"""
