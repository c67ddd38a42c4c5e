# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the blocks of a snapshot with the EBS direct APIs: no volume is created, and no instance is started."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .._core.errors import ImageError
from .._core.gibibytes import GIB
from .clients import aws_errors

# https://docs.aws.amazon.com/ebs/latest/APIReference/API_ListSnapshotBlocks.html
BLOCK_SIZE = 512 * 1024  # bytes
_LISTED = 10_000  # blocks in an answer, at most
_READERS = 10  # as many as botocore keeps connections


def read_snapshot(ebs: Any, snapshot: str, disk: Path) -> None:
    """Write the snapshot's data to a new sparse file of the volume's size.

    Args:
        ebs: a client of the service ``ebs`` in the snapshot's region.

    Raises ImageError if the disk is too small for the data or an answer does not match its checksum, ProviderError if
    EBS refuses.
    """
    with aws_errors(doing=f"reading {snapshot}"):
        size, tokens = _list_blocks(ebs, snapshot)
    free = shutil.disk_usage(disk.parent).free
    if len(tokens) * BLOCK_SIZE > free:
        raise ImageError(
            f"cannot read {snapshot}: its data needs {len(tokens) * BLOCK_SIZE} bytes in {disk.parent}, which has "
            f"{free} bytes free"
        )
    handle = os.open(disk, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(handle, size)
        with ThreadPoolExecutor(max_workers=_READERS) as readers:
            reads = [
                readers.submit(_copy_block, ebs, (snapshot, index, token), handle) for index, token in tokens.items()
            ]
            try:
                for read in reads:
                    read.result()
            finally:
                readers.shutdown(cancel_futures=True)
    finally:
        os.close(handle)


def _list_blocks(ebs: Any, snapshot: str) -> tuple[int, dict[int, str]]:
    """Return the volume's size in bytes, and the token of each block that has data, by the block's index."""
    tokens: dict[int, str] = {}
    more: dict[str, str] = {}
    while True:
        page = ebs.list_snapshot_blocks(SnapshotId=snapshot, MaxResults=_LISTED, **more)
        size = int(page["VolumeSize"]) * GIB
        if page["BlockSize"] != BLOCK_SIZE:
            raise ImageError(f"{snapshot} has blocks of {page['BlockSize']} bytes, expected {BLOCK_SIZE}")
        tokens.update({int(block["BlockIndex"]): str(block["BlockToken"]) for block in page.get("Blocks", ())})
        if not page.get("NextToken"):
            break
        more = {"NextToken": page["NextToken"]}
    if outside := [index for index in tokens if not 0 <= index < size // BLOCK_SIZE]:
        raise ImageError(f"{snapshot} has the block {outside[0]}, which is outside of its {size} bytes")
    return size, tokens


def _copy_block(ebs: Any, block: tuple[str, int, str], handle: int) -> None:
    """Write a block to its place in the file. Zeros are not written."""
    snapshot, index, token = block
    with aws_errors(doing=f"reading block {index} of {snapshot}"):
        answer = ebs.get_snapshot_block(SnapshotId=snapshot, BlockIndex=index, BlockToken=token)
        data = answer["BlockData"].read(BLOCK_SIZE + 1)
    if not _is_whole(data, answer):
        raise ImageError(f"block {index} of {snapshot} does not match its checksum")
    if data.strip(b"\0"):
        os.pwrite(handle, data, index * BLOCK_SIZE)


def _is_whole(data: bytes, answer: Mapping[str, Any]) -> bool:
    checksum = base64.b64encode(hashlib.sha256(data).digest()).decode("ascii")
    return len(data) == BLOCK_SIZE and (answer["ChecksumAlgorithm"], answer["Checksum"]) == ("SHA256", checksum)
