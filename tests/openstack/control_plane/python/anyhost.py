# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A mechanism driver of Neutron's ML2: binds the ports of hosts named fake*, which have no agent."""

from __future__ import annotations

from neutron_lib import constants
from neutron_lib.plugins.ml2 import api
from sqlalchemy.orm import configure_mappers


class AnyHost(api.MechanismDriver):
    def initialize(self):
        # Neutron adds "port_forwardings" to the ports' model with its first query, and needs it before one. Until then
        # every list of ports is an error 500, and with it every server that Nova shows.
        configure_mappers()

    def bind_port(self, context):
        if context.host.startswith("fake") and context.segments_to_bind:
            segment = context.segments_to_bind[0][api.ID]
            details = {"port_filter": True}
            context.set_binding(segment, "bridge", details, status=constants.PORT_STATUS_ACTIVE)
