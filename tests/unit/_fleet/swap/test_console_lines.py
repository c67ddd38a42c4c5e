# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a failed instance printed last, in the message of a swap and in the intent that the store keeps."""

from __future__ import annotations

from types import SimpleNamespace

from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.swap.result import last_console_lines


def test_secrets_and_escapes_of_a_console_are_not_shown() -> None:
    console = "boot\n\x1b[31mlogin failed\x1b[0m for shop:open-sesame\n\n  aborted  \n"
    compute = SimpleNamespace(console=lambda _id: "x" * 10**6 + "\n" + console)
    lines = last_console_lines(compute, "i-1", {"db_password": "open-sesame"})  # type: ignore[arg-type]
    assert lines[-3:] == ("boot", "login failed for shop:********", "aborted")
