# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connections to OpenStack clouds, opened when they are first used.

Credentials come from ``clouds.yaml`` and the environment as openstacksdk reads them, never from a definition:
https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html
"""

from __future__ import annotations

import functools
import os
import warnings
from typing import Any

from .cloud import Cloud
from .errors import openstack_errors
from .library import library

# Descriptions and tags at creation, and flavors by their content, are in it: Zed (2022) and later have it.
COMPUTE_MICROVERSION = "2.90"
TIMEOUT = 30.0  # seconds for one request
LONGEST_CALL = 120.0  # seconds that a lease must last when a changing call begins
AGENT = ("immutable.infra", "0")


class Connections:
    """The connection of one cloud. Several threads may share it.

    Raises ProviderError if openstacksdk is missing, or if the cloud is not configured.
    """

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    @property
    def connection(self) -> Any:
        """openstacksdk's connection."""
        return _connection(self.cloud)

    @property
    def region(self) -> str:
        """The region's name; "" if the cloud's configuration names none."""
        return str(self.connection.config.get_region_name() or "")

    @property
    def place(self) -> str:
        """How messages name the cloud."""
        return self.cloud.name or str(self.connection.config.name)

    @property
    def account_id(self) -> str:
        """The project's ID, see ``shares.AccountPlace``."""
        return self.project_id

    @property
    def project_id(self) -> str:
        """ID of the project that the credentials are for. The first use logs in."""
        with openstack_errors(doing="logging in"):
            return str(self.connection.current_project_id or "")


@functools.cache
def _connection(cloud: Cloud) -> Any:
    openstack = library()
    with openstack_errors(doing="reading the configuration of the cloud"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the SDK's own future, which is no concern of a user
        return openstack.connect(
            cloud=cloud.name or None,
            compute_default_microversion=COMPUTE_MICROVERSION,
            api_timeout=TIMEOUT,
            app_name=AGENT[0],
            app_version=AGENT[1],
        )


# A forked worker must not use its parent's connections.
os.register_at_fork(after_in_child=_connection.cache_clear)
