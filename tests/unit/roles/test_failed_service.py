# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guest's script that prints why a service failed, with a journal of a few lines."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

FILES = Path(__file__).parents[3] / "roles/seal/files"
SCRIPT = FILES / "services/usr/lib/immutable/failed"
# What systemd 252 logs of a unit, at the levels that the script asks for.
ERRORS = r"""shop.service: Failed to set up user namespacing: Operation not permitted
shop.service: ProtectHostname=yes is configured, but UTS namespace setup is prohibited, ignoring namespace setup.
shop.service: Failed at step USER spawning /usr/bin/shop: Operation not permitted
Failed to start shop.service - Shop.
shop.service: Failed to set up user namespacing: Operation not permitted
Failed to start shop.service - Shop.
"""
NOTICES = r"""shop.service: Main process exited, code=exited, status=1/FAILURE
shop.service: Failed with result 'exit-code'.
Failed to start shop.service - Shop.
"""


class Host:
    """A root folder with the script, a journal and a console."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("bin", "dev", "run", "journal"):
            (root / folder).mkdir()
        (root / "dev/console").touch()
        self.write("report", (FILES / "launch/usr/lib/immutable/report").read_text(encoding="utf-8"))
        self.write("failed", SCRIPT.read_text(encoding="utf-8"))
        journal = root / "bin/journalctl"
        journal.write_text(
            "#!/bin/sh\n"
            "for each; do case $each in err | notice) level=$each ;; _SYSTEMD_UNIT=*) level=output ;; esac; done\n"
            f'cat "{root}/journal/${{level:-none}}" 2> /dev/null || true\n',
            encoding="utf-8",
        )
        journal.chmod(0o755)

    def write(self, name: str, text: str) -> None:
        for place in ("/usr/lib/immutable", "/dev", "/run/host", "/sys/firmware"):
            text = text.replace(f"{place}/", f"{self.root}/{place.lstrip('/')}/").replace(
                f"={place}\n", f"={self.root}{place}\n"
            )
        (self.root / "usr/lib/immutable").mkdir(parents=True, exist_ok=True)
        (self.root / "usr/lib/immutable" / name).write_text(text, encoding="utf-8")

    def logged(self, **levels: str) -> None:
        for level, text in levels.items():
            (self.root / "journal" / level).write_text(text, encoding="utf-8")

    def failed(self, unit: str = "shop.service") -> str:
        script = self.root / "usr/lib/immutable/failed"
        path = f"{self.root}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        subprocess.run(["/bin/sh", str(script), unit], env={"PATH": path}, check=True)
        return (self.root / "dev/console").read_text(encoding="utf-8").strip()


def said(line: str) -> dict[str, str]:
    mark, _space, text = line.partition(" ")
    assert mark == "IMMUTABLE-SERVICE" and "\n" not in text
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def test_the_line_names_what_systemd_could_not_do(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.logged(err=ERRORS, notice=NOTICES, output="a secret")
    assert said(host.failed()) == {
        "unit": "shop.service",
        "reason": "Failed to set up user namespacing: Operation not permitted; "
        "Failed at step USER spawning /usr/bin/shop: Operation not permitted",
        "output": "",
    }


def test_a_program_that_ended_is_named_by_its_status_and_on_a_private_console_by_its_own_words(tmp_path: Path) -> None:
    host = Host(tmp_path)
    words = (
        "shop.service: PrivateNetwork=yes is configured, ignoring.\n" * 5
        + 'FATAL: "data" is of version 14\\\n\x1b[31mstopped\x1b[0m\n'
    )
    host.logged(err="Failed to start shop.service - Shop.\n", notice=NOTICES, output=words)
    assert said(host.failed())["output"] == "", "anyone with the right may read the console of a cloud's instance"
    (tmp_path / "run/host/immutable").mkdir(parents=True)
    (tmp_path / "run/host/immutable/launch.tar").touch()
    (tmp_path / "dev/console").write_text("", encoding="utf-8")
    found = said(host.failed())
    assert found["reason"] == "Main process exited, code=exited, status=1/FAILURE"
    assert found["output"] == "FATAL: data is of version 14; [31mstopped [0m"


def test_a_long_output_is_cut_and_a_unit_of_the_seal_reports_itself(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.logged(err="x" * 5000)
    assert host.failed("immutable-data@db.service") == ""
    assert len(said(host.failed())["reason"]) == 600
