# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of a template. One that Packer, or the code that reads it, would wait for without end is refused."""

from __future__ import annotations

import os
import stat

from .errors import PackerError
from .variables import HCL2_SUFFIXES


def check_template(path: str) -> None:
    """Raise PackerError unless a template is a file, or a folder whose own files are files."""
    try:
        names = sorted(os.listdir(path)) if os.path.isdir(path) else [""]
    except OSError as error:
        raise PackerError(f"cannot read the template {path}: {error.strerror}") from error
    for file in (os.path.join(path, name) if name else path for name in names):
        try:
            mode = os.stat(file).st_mode
        except OSError as error:
            if file == path:
                missing = isinstance(error, FileNotFoundError)
                problem = "does not exist" if missing else f"cannot be read: {error.strerror}"
                raise PackerError(f"the template {path} {problem}") from error
            continue  # a link to nothing, which Packer reports if it needs the file
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise PackerError(
                f"{file} is a pipe, socket or device (allowed: files and folders); move it out of the template"
            )


def template_files(template: str) -> list[str]:
    """Return the files of a template in Packer's order: those of HCL before those of JSON, each sorted by name.

    What is not a regular file, such as a FIFO, is left out: reading it could take forever.
    """
    names = sorted(os.listdir(template)) if os.path.isdir(template) else []
    paths = [os.path.join(template, name) for suffix in HCL2_SUFFIXES for name in names if name.endswith(suffix)]
    return [path for path in (paths or [template]) if os.path.isfile(path)]
