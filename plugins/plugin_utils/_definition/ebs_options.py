# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of Packer's amazon-ebs builder that a definition must not set, because other keys or the bake set them. Pure.

Source: the documentation of Packer's amazon plugin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .._aws.tags import PREFIX

TAG_OPTIONS = ("tags", "run_tags", "run_volume_tags", "snapshot_tags")  # the bake adds its own tags to these
DISKS = "launch_block_device_mappings"  # the disks of the build machine, to which the bake adds their encryption
_BAKE = "a bake sets it itself"
_COPIES = "images are copied to the regions of the targets after they are tested"
_CREDENTIALS = "credentials come from the AWS configuration, never from a definition"
# The reason for each refused option.
REFUSED: dict[str, str] = {
    **dict.fromkeys(("source_ami", "source_ami_filter"), "image.base sets it"),
    **dict.fromkeys(("region",), "build.region sets it"),
    **dict.fromkeys(("instance_type", "spot_instance_types"), "build.type sets it"),
    **dict.fromkeys(("subnet_id", "subnet_filter"), "build.subnet sets it"),
    **dict.fromkeys(("encrypt_boot",), "build.encrypt sets it"),
    **dict.fromkeys(("kms_key_id", "region_kms_key_ids"), "build.kms_key sets it"),
    **dict.fromkeys(("ssh_username",), "build.ssh_username sets it"),
    **dict.fromkeys(("profile",), "the target's profile sets it"),
    **dict.fromkeys(("assume_role",), "the target's role sets it"),
    **dict.fromkeys(
        ("custom_endpoint_ec2", "skip_region_validation", "skip_metadata_api_check"),
        "the target's endpoint_url sets it",
    ),
    **dict.fromkeys(("ami_regions", "skip_save_build_region"), _COPIES),
    **dict.fromkeys(
        ("access_key", "secret_key", "token", "mfa_code", "vault_aws_engine", "ssh_password"), _CREDENTIALS
    ),
    **dict.fromkeys(
        ("type", "communicator", "ami_name", "ami_description", "skip_create_ami", "shutdown_behavior", "imds_support"),
        _BAKE,
    ),
    **dict.fromkeys(
        ("metadata_options", "ssh_private_key_file", "ssh_keypair_name", "ssh_agent_auth", "ssh_clear_authorized_keys"),
        _BAKE,
    ),
    **dict.fromkeys(
        (
            "temporary_key_pair_name",
            "temporary_key_pair_type",
            "temporary_key_pair_bits",
            "tag",
            "run_tag",
            "snapshot_tag",
        ),
        _BAKE,
    ),
}


def refused_options(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name of each option that must not be set, and the reason."""
    for name, value in options.items():
        if name in REFUSED:
            yield name, REFUSED[name]
        elif name == DISKS and not _are_disks(value):
            yield name, "it must be a list of mappings, each with device_name"
        elif name in TAG_OPTIONS and not isinstance(value, Mapping):
            yield name, "it must be a mapping of names to values"
        elif name in TAG_OPTIONS and any(str(key).startswith(PREFIX) for key in value):
            yield name, f"tags that start with {PREFIX} are reserved for the bake"


def _are_disks(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, Mapping) and isinstance(each.get("device_name"), str) for each in value
    )
