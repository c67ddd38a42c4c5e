# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How IAM names what a call needs. Mostly it is the call's own name."""

from __future__ import annotations

OTHERS = {
    "s3:HeadObject": "s3:GetObject",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjects": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
}


def action_of(service: str, operation: str) -> str:
    """``ec2:RunInstances`` and the like. ``service``: its name in signatures, which IAM shares."""
    called = f"{service}:{operation}"
    return OTHERS.get(called, called)
