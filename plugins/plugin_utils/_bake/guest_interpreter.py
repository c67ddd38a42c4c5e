# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The interpreter of Ansible's modules in the build machine: Python, with a cache for the byte code of zip archives.

Ansible sends each module as a zip archive of source, and Python compiles the source of an archive twice at each import.
In an emulated guest that takes longer than the module's work. This program takes the byte code from files instead:
from what was compiled on the controller, or from what an earlier module left. Code is found by the hash of its source,
so nothing that differs from the archive is ever executed.

The program runs in the guest, as ``ansible_python_interpreter``. It needs only the standard library of Python 3.8.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
import zipimport
from types import CodeType

PYTHON = "/usr/bin/python3"
HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.path.dirname(HERE)  # of Ansible, with the byte code of its own files
CACHE = os.path.join(HERE, "code")  # what modules compiled here
_HASHED = b"\1\0\0\0"  # the flags of byte code that belongs to a hash, and is used without a look at the source
_HEADER = 16  # bytes before the code


class CachedArchive(zipimport.zipimporter):
    """Imports from a zip archive, without compiling what was compiled before."""

    def get_filename(self, fullname: str) -> str:
        """Return the path of the module within the archive. The parent class compiles the module for it."""
        member = self._read(fullname)[0]
        return os.path.join(self.archive, member) if member else super().get_filename(fullname)

    def get_code(self, fullname: str) -> CodeType:
        """Return the module's code."""
        member, source = self._read(fullname)
        if not member:
            return super().get_code(fullname)
        path = os.path.join(self.archive, member)
        return _located(_code(source, member, path), path)

    def _read(self, fullname: str) -> tuple[str, bytes]:
        """The name of the module's source in the archive, and its content. The name is empty if there is no source."""
        base = self.prefix + fullname.rpartition(".")[2]
        member = os.path.join(base, "__init__.py") if self.is_package(fullname) else f"{base}.py"
        try:
            return member, self.get_data(member)
        except OSError:
            return "", b""


def _code(source: bytes, member: str, path: str) -> CodeType:
    digest = importlib.util.source_hash(source)
    own = os.path.join(CACHE, digest.hex())
    for cached in (importlib.util.cache_from_source(os.path.join(LIBRARY, member)), own):
        try:
            with open(cached, "rb") as file:
                data = file.read()
        except OSError:
            continue
        if data[:4] == importlib.util.MAGIC_NUMBER and data[4:_HEADER] == _HASHED + digest:
            return marshal.loads(data[_HEADER:])  # type: ignore[no-any-return]  # noqa: S302  as Python reads it
    code = compile(source, path, "exec", dont_inherit=True)
    _keep(own, importlib.util.MAGIC_NUMBER + _HASHED + digest + marshal.dumps(code))
    return code


def _keep(path: str, data: bytes) -> None:
    """Write a file that is complete or missing. A module that runs as another user cannot."""
    try:
        with open(f"{path}.{os.getpid()}", "xb") as file:
            file.write(data)
        os.rename(file.name, path)
    except OSError:
        pass


def _located(code: CodeType, path: str) -> CodeType:
    """The same code, with the path that tracebacks and messages name."""
    constants = tuple(_located(each, path) if isinstance(each, type(code)) else each for each in code.co_consts)
    return code.replace(co_filename=path, co_consts=constants)


def _run(arguments: list[str]) -> None:
    """Run a program as Python does: from a file, or from the standard input."""
    main = sys.modules["__main__"]
    if arguments:
        with open(arguments[0], "rb") as file:
            source = file.read()
        main.__file__ = name = arguments[0]
        sys.path[0] = os.path.dirname(os.path.realpath(name))
    else:
        source, name = sys.stdin.buffer.read(), "<stdin>"
        del main.__file__
        sys.path[0] = ""
    sys.argv = arguments or [""]
    exec(compile(source, name, "exec", dont_inherit=True), main.__dict__)  # noqa: S102  as Python does


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("-"):  # an option of Python: this is no module
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])  # noqa: S606
    sys.path_hooks[:] = [CachedArchive if hook is zipimport.zipimporter else hook for hook in sys.path_hooks]
    _run(sys.argv[1:])
