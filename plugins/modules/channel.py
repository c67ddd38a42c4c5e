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
  - A channel is a named pointer to a verified image, such as V(prod). Fleets are swapped to what their channel points at.
  - An image that did not pass M(immutable.infra.image_verify) cannot be promoted.
  - Every promotion is kept in the channel's history. Promoting an earlier image again points the channel back at it.
  - The promotion of an AMI is told to other tools by the SSM parameter C(/immutable/<service>/<channel>/ami), in each region that has the AMI. It is of the
    data type C(aws:ec2:image), so that launch templates can name it as C(resolve:ssm:/immutable/shop/prod/ami) and Terraform can read it. Where it says
    something else, a run mends it, although the channel itself does not change.
  - A revoked image cannot be promoted or swapped in any more, from whatever channel. Hosts that run it go on until they are swapped.
extends_documentation_fragment:
  - immutable.infra.options.definition
  - immutable.infra.options.target
  - immutable.infra.options.store
  - immutable.infra.attributes
  - immutable.infra.attributes.action
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  channel:
    description: Name of the channel. Needed with O(state=promoted); the other states are about the image, in whatever channel.
    type: str
  image:
    description:
      - The image to promote, by digest, by at least six digits of it, or by name.
      - By default the image of the definition as it stands now, with O(state=promoted). The other states need it.
    type: str
  note:
    description: A word for the history. With O(state=revoked) the reason, which is needed there.
    type: str
    default: ""
  state:
    description:
      - V(promoted) points the channel at the image.
      - V(revoked) bans the image. What was revoked before stays as it is, with its first reason.
      - V(unrevoked) takes that back.
    type: str
    choices: [promoted, revoked, unrevoked]
    default: promoted
seealso:
  - module: immutable.infra.channel_info
  - module: immutable.infra.fleet
"""

EXAMPLES = r"""
- name: Promote what was verified
  immutable.infra.channel:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    channel: prod

- name: Point the channel back at an earlier image
  immutable.infra.channel:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    channel: prod
    image: shop-1.4.1-9f86d081884c
    note: 1.4.2 is slow

- name: See that an image is never used again
  immutable.infra.channel:
    definition: /srv/shop/immutable.yml
    store: /var/lib/immutable
    image: shop-1.4.2-2c26b46b68ff
    state: revoked
    note: it loses orders
"""

RETURN = r"""
published:
  description: The parameters that were changed, or would be in check mode, each with its region.
  returned: with O(state=promoted)
  type: list
  elements: str
  sample: [/immutable/shop/prod/ami in eu-central-1]
channel:
  description:
    - The channel with C(service), C(channel), C(image) (a digest), C(build), C(name), C(version), C(at), C(by), C(note) and C(history),
      whose newest entry comes last. In check mode as it would be.
  returned: with O(state=promoted)
  type: dict
image:
  description: The image that was promoted, revoked or not, as M(immutable.infra.image_info) tells it.
  returned: success
  type: dict
"""
