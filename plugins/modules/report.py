#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Write a report of a service as one HTML page
version_added: 0.3.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Writes what is due and why, the fleets with the origin of their images, the last swaps and the next one as
    timelines, the images with the differences of their packages, and the results of attestations.
  - The page is one file that loads nothing from the network. It is complete without JavaScript. With it, a cursor shows
    each moment of a swap.
  - For a target of the provider V(simulated), the page shows the rehearsal of a swap.
  - Reads the store and the providers, and changes nothing but the file. What cannot be read is a warning and a text on
    the page.
extends_documentation_fragment:
  - immutable.infra.options
  - immutable.infra.options.store
  - immutable.infra.options.channel
  - immutable.infra.attributes
  - immutable.infra.attributes.action
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: A page is too long for a diff.
  idempotent:
    support: full
    details: The file is not written again if only the time of writing would differ.
options:
  target:
    description:
      - Names of the targets to show.
      - By default, these are all targets of the definition that are not simulated, or all if there are no others.
    type: list
    elements: str
    default: []
  dest:
    description:
      - The file to write. A relative path is relative to the playbook's folder. The folder must exist.
    type: path
    required: true
  mode:
    description:
      - Permissions of the file, as octal digits in quotes, such as V("0644").
      - The page names instances, images, users and the inputs of bakes. It contains no secrets.
    type: raw
    default: "0600"
  swaps:
    description: How many of the newest swaps of each fleet to show.
    type: int
    default: 5
  predict:
    description:
      - Whether to predict the swap to the channel's image, as M(immutable.infra.fleet) does in check mode.
      - It needs the settings and secrets that a swap needs. If they are missing, the page says so.
    type: bool
    default: true
  attested:
    description:
      - Results of M(immutable.infra.host_attest) to show, by the name of the host.
    type: dict
    default: {}
seealso:
  - module: immutable.infra.fleet
  - module: immutable.infra.fleet_info
  - module: immutable.infra.host_attest
  - module: immutable.infra.image_info
"""

EXAMPLES = r"""
- name: Write the report of a service
  immutable.infra.report:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    dest: /srv/www/shop.html
    mode: "0644"
  register: written

- name: Show what is due
  ansible.builtin.debug:
    msg: "{{ item.what }}: {{ item.why }}"
  loop: "{{ written.due }}"
  loop_control:
    label: "{{ item.what }}"

- name: See a rehearsal on the simulated provider
  immutable.infra.report:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    target: rehearsal
    dest: /tmp/rehearsal.html
"""

RETURN = r"""
dest:
  description: Path of the file.
  returned: success
  type: str
size:
  description: Size of the page in bytes.
  returned: success
  type: int
due:
  description: What is due.
  returned: success
  type: list
  elements: dict
  contains:
    fleet:
      description: Name of the fleet, or an empty string for what concerns no single fleet.
      type: str
    what:
      description: What is due, such as a bake, a verification, a promotion, a swap or a sweep.
      type: str
    why:
      description: Why it is due.
      type: str
  sample:
    - fleet: shop-local
      what: swap to shop-1.4.2-5f2c07d1e9ab
      why: runs shop-1.4.1-0b1c2d3e4f5a, not shop-1.4.2-5f2c07d1e9ab (slots 0 to 2)
summary:
  description: The result in a few lines for people, also if the task fails. M(immutable.infra.show) shows them.
  returned: when the options are valid
  type: list
  elements: str
"""
