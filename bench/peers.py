# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A virtual environment with the collections of others, for comparisons."""

from __future__ import annotations

import os
import venv
from pathlib import Path

from .measuring import command

# The community package whose amazon.aws still replaces instances itself. It has openstack.cloud, too, which fails with
# newer releases of openstacksdk.
PACKAGES = ("ansible==12.*", "boto3", "openstacksdk==4.7.*")


def install() -> Path:
    """Create the environment, once. IMMUTABLE_BENCH_PEERS names another folder for it."""
    folder = Path(os.environ.get("IMMUTABLE_BENCH_PEERS", ".cache/bench-peers")).resolve()
    done, wanted = folder / "done", " ".join(PACKAGES)
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        venv.create(folder, with_pip=True, clear=True)
        command([str(folder / "bin/pip"), "install", "--quiet", *PACKAGES], folder, dict(os.environ)).run(None)
        done.write_text(wanted, encoding="utf-8")
    return folder


if __name__ == "__main__":
    install()
