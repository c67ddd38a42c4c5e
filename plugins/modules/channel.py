#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: channel
short_description: Promote a verified image to a channel, or revoke one
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - A channel is a named pointer to a verified image, such as V(prod). A fleet runs the image that its channel points
    to.
  - Only an image that passed M(immutable.infra.image_verify) can be promoted.
  - The channel's history keeps every promotion. To return the channel to an earlier image, promote that image again.
  - The promotion of an AMI also sets the SSM parameter C(/immutable/<service>/<channel>/ami) in each region that has
    the AMI. The parameter has the data type C(aws:ec2:image). A launch template can therefore refer to it as
    C(resolve:ssm:/immutable/shop/prod/ami), and Terraform can read it. If a parameter has a different value, the next
    run corrects it, even if the channel itself does not change.
  - A revoked image can no longer be promoted or swapped in, on any channel. Hosts that run it keep running until a
    swap replaces them.
extends_documentation_fragment:
  - immutable.infra.options
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
  - immutable.infra.attributes.changes
options:
  channel:
    description:
      - Name of the channel. Required with O(state=promoted).
      - The other states apply to the image itself, regardless of the channels that point to it.
    type: str
  image:
    description:
      - The image, specified by its name, its digest, or a digest prefix of at least six characters.
      - With O(state=promoted), the default is the image that the current definition describes. The other states
        require this option.
    type: str
  note:
    description: A note for the history. With O(state=revoked), it is the reason and is required.
    type: str
    default: ""
  state:
    description:
      - V(promoted) points the channel to the image.
      - V(revoked) bans the image. An image that is already revoked keeps its first reason.
      - V(unrevoked) lifts the ban.
    type: str
    choices: [promoted, revoked, unrevoked]
    default: promoted
    version_added: 0.2.0
seealso:
  - module: immutable.infra.channel_info
  - module: immutable.infra.fleet
"""

EXAMPLES = r"""
- name: Promote the verified image
  immutable.infra.channel:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    channel: prod

- name: Return the channel to an earlier image
  immutable.infra.channel:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    channel: prod
    image: shop-1.4.1-9f86d081884c
    note: 1.4.2 is slow

- name: Revoke an image so that it is never used again
  immutable.infra.channel:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    image: shop-1.4.2-2c26b46b68ff
    state: revoked
    note: it loses orders
"""

RETURN = r"""
published:
  description: SSM parameters that were changed, or would be changed in check mode, each with its region.
  returned: when O(state=promoted)
  type: list
  elements: str
  sample: [/immutable/shop/prod/ami in eu-central-1]
  version_added: 0.2.0
channel:
  description:
    - The channel, with C(service), C(channel), C(image) (a digest), C(build), C(name), C(version), C(at), C(by),
      C(note) and C(history). The newest entry of the history comes last.
    - In check mode, the channel as it would be after the promotion.
  returned: when O(state=promoted)
  type: dict
image:
  description: The image, in the same form as in M(immutable.infra.image_info).
  returned: success
  type: dict
accounts:
  description:
    - Other AWS accounts or OpenStack projects that can no longer launch the image, or can again, each with its
      region, such as C(123456789012/eu-west-1). Their running instances are not changed.
  returned: with O(state=revoked) or O(state=unrevoked), when that changed
  type: list
  elements: str
  version_added: 0.3.0
summary:
  description: The result in a few lines for people, also if the task fails. M(immutable.infra.show) shows them.
  returned: when the options are valid
  type: list
  elements: str
  version_added: 0.3.0
left_out:
  description:
    - Number of entries left out of each list, by the path of the list, if the result would exceed 600,000 bytes. A
      warning reports the same numbers. The channel's document in the store is complete.
  returned: when entries are missing
  type: dict
  version_added: 0.3.0
"""
