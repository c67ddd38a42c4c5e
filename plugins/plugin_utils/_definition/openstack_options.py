# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of Packer's openstack builder that a definition must not set: other keys or the bake set them. Pure.

Source: the documentation of Packer's openstack plugin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .._openstack.metadata import PREFIX

METADATA_OPTIONS = ("metadata", "instance_metadata")  # the bake adds its own marks to these
_BAKE = "a bake sets it itself"
_CREDENTIALS = "credentials come from clouds.yaml and the environment, never from a definition"
_SHARING = "an image is shared after it is tested"
_DISCOVERY = "build.networks names the networks"
# The reason for each refused option.
REFUSED: dict[str, str] = {
    **dict.fromkeys(
        (
            "source_image",
            "source_image_name",
            "source_image_filter",
            "external_source_image_url",
            "external_source_image_format",
            "external_source_image_properties",
        ),
        "image.base sets it",
    ),
    "flavor": "build.flavor sets it",
    **dict.fromkeys(("networks", "ports", "network_discovery_cidrs"), _DISCOVERY),
    "security_groups": "build.security_groups sets it",
    **dict.fromkeys(
        ("floating_ip_network", "floating_ip_pool", "floating_ip", "reuse_ips", "use_floating_ip"),
        "build.floating_network sets it",
    ),
    "availability_zone": "build.zone sets it",
    "config_drive": "build.config_drive sets it",
    **dict.fromkeys(
        (
            "use_blockstorage_volume",
            "volume_name",
            "volume_size",
            "volume_type",
            "volume_availability_zone",
            "image_disk_format",
        ),
        "build.volume sets it",
    ),
    "ssh_username": "build.ssh_username sets it",
    **dict.fromkeys(
        (
            "username",
            "user_id",
            "password",
            "token",
            "identity_endpoint",
            "tenant_id",
            "tenant_name",
            "domain_id",
            "domain_name",
            "application_credential_id",
            "application_credential_name",
            "application_credential_secret",
            "cloud",
            "cacert",
            "cert",
            "key",
            "insecure",
            "region",
            "endpoint_type",
            "ssh_password",
        ),
        _CREDENTIALS,
    ),
    **dict.fromkeys(("image_visibility", "image_members", "image_auto_accept_members"), _SHARING),
    **dict.fromkeys(
        (
            "type",
            "communicator",
            "image_name",
            "instance_name",
            "skip_create_image",
            "ssh_private_key_file",
            "ssh_keypair_name",
            "ssh_agent_auth",
            "ssh_clear_authorized_keys",
            "temporary_key_pair_name",
            "temporary_key_pair_type",
            "temporary_key_pair_bits",
            "openstack_provider",
        ),
        _BAKE,
    ),
}


def refused_options(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name of each option that must not be set, and the reason."""
    for name, value in options.items():
        if name in REFUSED:
            yield name, REFUSED[name]
        elif name in METADATA_OPTIONS and not isinstance(value, Mapping):
            yield name, "it must be a mapping of names to values"
        elif name in METADATA_OPTIONS and any(str(key).startswith(PREFIX) for key in value):
            yield name, f"names that start with {PREFIX} are reserved for the bake"
