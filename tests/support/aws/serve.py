# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a command next to a fake AWS: ``python -m ...serve FOLDER COMMAND...``.

FOLDER then has the definition and the store of a service with the images 1.0.0 and 2.0.0, which are verified and in
no channel. ``images.json`` has their names, and ``calls`` gets a line for each changing call. The environment of the
command has the standard AWS variables.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .answers import Answer
from .calls import Call
from .fleet import Shop
from .proxy import Proceed
from .server import cloud


def main(folder: Path, command: list[str]) -> int:
    with cloud() as server:

        def log_change(call: Call, proceed: Proceed) -> Answer:
            if call.changing:
                with (folder / "calls").open("a", encoding="utf-8") as file:
                    file.write(f"{call.service}:{call.action}\n")
            return proceed(call)

        shop = Shop(server, folder, evidence="none")
        names = {version: shop.image(version, promote=False).name for version in ("1.0.0", "2.0.0")}
        (folder / "images.json").write_text(json.dumps(names), encoding="utf-8")
        shop.definition()
        (folder / "calls").write_text("", encoding="utf-8")
        server.proxy.layers = [log_change, *server.proxy.layers]
        return subprocess.run(command, env={**os.environ, **server.environment()}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
