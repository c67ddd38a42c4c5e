# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The source of a loaded module, to run it as a separate program."""

from __future__ import annotations

from types import ModuleType


def source_of(module: ModuleType) -> str:
    """Return the source that a module was loaded from.

    The module's loader has it: an archive on a managed host, or ansible-core's loader on the controller, which keeps
    the text that it has compiled. ``inspect.getsource`` reads the file again instead. If the collection has been
    upgraded since, that is the source of another release. While the file is missing, it raises a TypeError, because
    ansible-core's loader returns bytes (seen with 2.16 and 2.19).

    Raises ImportError if the loader has no source.
    """
    loader = module.__spec__.loader if module.__spec__ else None
    source = loader.get_source(module.__name__) if loader and hasattr(loader, "get_source") else None
    if source is None:
        raise ImportError(f"the source of {module.__name__} is not available", name=module.__name__)
    return source.decode("utf-8") if isinstance(source, bytes) else str(source)
