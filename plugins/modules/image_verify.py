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
  - The playbook runs as a child C(ansible-playbook) with the user's configuration and vault IDs. Its output is shown
    as it comes.
  - The test instances are always removed. The next verification of the same service and target removes the leftovers
    of a killed run.
  - An AMI that passed its tests is copied to the region of every target of the definition that shares it. Each copy
    is encrypted with that target's C(build.kms_key). If the target is in another region than the AMI, the copy is
    made before the tests, since the instances boot there.
  - The next run finds copies that a killed run began and makes missing copies. It does not repeat the tests for this.
  - An image that passed its tests is not tested again until the verify playbook, the health probes or the data
    volumes of the definition change.
extends_documentation_fragment:
  - immutable.infra.options
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.changes
attributes:
  check_mode:
    details: Returns whether a verification is due and to which regions the image would be copied. Nothing is booted.
  diff_mode:
    support: none
options:
  image:
    description:
      - The image to verify, given by its digest, by at least six digits of the digest, or by its name.
      - The default is the image of the definition in its current form.
    type: str
  force:
    description: Test an image again that already passed its tests.
    type: bool
    default: false
  timeout:
    description: How long the whole verification can take, such as V(15m).
    type: str
    default: 30m
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
  description: The image. Its key C(verified) says which checks it passed.
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
  returned: when the playbook failed or took too long
  type: list
  elements: str
consoles:
  description: The last lines of the test instances' consoles, by slot.
  returned: when an instance failed a check
  type: dict
"""
