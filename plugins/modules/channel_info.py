#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: channel_info
short_description: List channels with their history
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - Lists the channels of a store. Each entry contains the image that the channel points to, and its history.
extends_documentation_fragment:
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.info
options:
  service:
    description: List only channels of this service.
    type: str
  channel:
    description: List only channels with this name.
    type: str
seealso:
  - module: immutable.infra.channel
"""

EXAMPLES = r"""
- name: List the image of each of the shop's channels
  immutable.infra.channel_info:
    store: /var/lib/immutable
    service: shop
"""

RETURN = r"""
channels:
  description:
    - Each channel, with C(service), C(channel), C(image) (a digest), C(build), C(name), C(version), C(at), C(by),
      C(note) and C(history). The newest entry of the history comes last.
  returned: success
  type: list
  elements: dict
left_out:
  description:
    - Number of entries left out of each list, by the path of the list, if the result would exceed 600,000 bytes. A
      warning reports the same numbers. The channel's document in the store is complete.
  returned: when entries are missing
  type: dict
  version_added: 0.3.0
"""
