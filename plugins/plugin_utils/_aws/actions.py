# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How IAM names the permission that a call needs. Usually it is the call's own name."""

from __future__ import annotations

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
OTHER_NAMES = {
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
    """The IAM action of a call, such as ``ec2:RunInstances``.

    Args:
        service: its name in signatures, which is also its name in IAM.
    """
    name = f"{service}:{operation}"
    return OTHER_NAMES.get(name, name)
