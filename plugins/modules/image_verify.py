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
  - Boots the image as fresh instances with scratch volumes. One is launched exactly as in production and must prove its image, seal itself and
    pass its health probe. The other lets a one-time key in, for the definition's verify playbook.
  - The playbook runs as a child C(ansible-playbook) with the user's configuration and vault ids. Its output is shown as it comes.
  - The test instances always go. What a killed run left is removed by the next verification of the same service and target.
  - An AMI that passed is copied to the region of every target of the definition that shares it, encrypted with that target's C(build.kms_key). A target in
    another region than the AMI gets its copy before, since it is booted there. Copies that a killed run began are found again, and missing ones are made
    by the next run, without another test.
  - An image that passed is not tested again until the verify playbook, the health probes or the data volumes of the definition change.
extends_documentation_fragment:
  - immutable.infra.options.definition
  - immutable.infra.options.target
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
attributes:
  check_mode:
    support: full
    details: Says whether a verification is due, and to which regions the image would be copied. Nothing is booted.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  image:
    description:
      - The image to verify, by digest, by at least six digits of it, or by name.
      - By default the image of the definition as it stands now.
    type: str
  force:
    description: Test again what passed before.
    type: bool
    default: false
  timeout:
    description: How long the whole verification may take, such as V(15m).
    type: str
    default: 30m
seealso:
  - module: immutable.infra.image
  - module: immutable.infra.channel
"""

EXAMPLES = r"""
- name: Boot and test what was baked
  immutable.infra.image_verify:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    timeout: 15m
"""

RETURN = r"""
image:
  description: The image, with what it passed in C(verified).
  returned: success
  type: dict
due:
  description: Whether a verification was due.
  returned: success
  type: bool
why:
  description: Why it was due, or why not.
  returned: success
  type: str
copied:
  description: Regions that the image was copied to, or would be in check mode.
  returned: success
  type: list
  elements: str
checks:
  description: What the candidate passed.
  returned: when it was tested
  type: list
  elements: str
failed_tasks:
  description: The verify playbook's failed tasks, each with task, host, path and message.
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
  returned: when an instance fell short
  type: dict
"""
