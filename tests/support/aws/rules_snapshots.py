# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The data of snapshots, as the EBS direct APIs return it."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from .answers import Answer, refusal
from .calls import Call
from .proxy import Proceed
from .world import World

BLOCK_SIZE = 512 * 1024  # bytes; moto says 512


def list_blocks(world: World, call: Call, _proceed: Proceed) -> Answer:
    """ListSnapshotBlocks, in pages."""
    known, blocks = _blocks(world, call)
    start, count = int(call.parameters.get("pageToken", 0)), int(call.parameters.get("maxResults", 10_000))
    page = blocks[start : start + count]
    document = {
        "Blocks": page,
        "BlockSize": BLOCK_SIZE,
        "VolumeSize": known.get("VolumeSize", 1),
        "ExpiryTime": 4102444800,
        **({"NextToken": str(start + count)} if start + count < len(blocks) else {}),
    }
    return Answer(200, json.dumps(document).encode(), {"Content-Type": "application/json"})


def get_block(world: World, call: Call, _proceed: Proceed) -> Answer:
    """GetSnapshotBlock, with the checksum of its data."""
    index, token = int(call.parameters["BlockIndex"]), call.parameters.get("blockToken")
    if {"BlockIndex": index, "BlockToken": token} not in _blocks(world, call)[1]:
        return refusal(call, 400, "ValidationException", "The block token is not valid for this block.")
    data = (
        world.boto("ebs", call.region)
        .get_snapshot_block(SnapshotId=world.settings.disk, BlockIndex=index, BlockToken=token)["BlockData"]
        .read()
    )
    headers = {
        "Content-Type": "application/octet-stream",
        "x-amz-Data-Length": str(len(data)),
        "x-amz-Checksum": base64.b64encode(hashlib.sha256(data).digest()).decode("ascii"),
        "x-amz-Checksum-Algorithm": "SHA256",
    }
    return Answer(200, data, headers)


def _blocks(world: World, call: Call) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What moto says about the disk that every image is made from, and its blocks."""
    if not world.settings.disk:
        return {}, []
    known = world.boto("ebs", call.region).list_snapshot_blocks(SnapshotId=world.settings.disk)
    return known, [{"BlockIndex": each["BlockIndex"], "BlockToken": each["BlockToken"]} for each in known["Blocks"]]
