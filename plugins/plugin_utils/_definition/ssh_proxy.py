# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The program through which SSH reaches an instance, such as an EC2 Instance Connect Endpoint. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

PLACEHOLDERS = ("{host}", "{port}", "{instance_id}")
_PLACEHOLDER = re.compile(r"\{[a-z_]*\}")


def unknown_placeholders(argument: str) -> Iterator[str]:
    """Names in braces that are no placeholder. Other braces, as in JSON, are text."""
    yield from (name for name in _PLACEHOLDER.findall(argument) if name not in PLACEHOLDERS)


def proxy_command(arguments: Sequence[str], host: str, port: int, instance_id: str) -> list[str]:
    """The program and its arguments for one connection. Values never become arguments of their own."""
    values = dict(zip(PLACEHOLDERS, (host, str(port), instance_id), strict=True))
    return [_PLACEHOLDER.sub(lambda found: values.get(found[0], found[0]), argument) for argument in arguments]
