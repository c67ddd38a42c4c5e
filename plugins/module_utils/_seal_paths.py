# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which paths of a host belong to the system. No service may mount anything there.

The controller checks the definition's paths by their names. The seal checks them again in the image, where a link may
lead elsewhere.
"""

from __future__ import annotations

import fnmatch
import os
import posixpath

from ._seal_changes import Refused

# What every system writes while it runs. The definition's ``writable`` lists only what the service writes.
SYSTEM_WRITABLE = ("/tmp", "/var/tmp", "/var/log", "/var/lib/systemd")
RESERVED_PATHS = ("/dev", "/proc", "/run", "/sys")  # every boot mounts these
_LINKS_TO_RESERVED = ("/var/lock", "/var/run")  # in every Debian
# Each of these is refused, with everything in it and with every folder around it. ``*`` matches within one folder.
# A mount here would hide what the host boots from, who may log in, or what the seal wrote.
# fmt: off
SYSTEM_PATHS = (
    "/bin", "/boot", "/lib", "/lib32", "/lib64", "/libx32", "/lost+found", "/sbin",
    "/etc/alternatives", "/etc/ansible", "/etc/apparmor.d", "/etc/apt", "/etc/cloud", "/etc/dbus-1", "/etc/default",
    "/etc/dpkg", "/etc/init.d", "/etc/initramfs-tools", "/etc/kernel", "/etc/ld.so.conf.d", "/etc/logrotate.d",
    "/etc/modprobe.d", "/etc/modules-load.d", "/etc/netplan", "/etc/network", "/etc/pam.d", "/etc/profile.d",
    "/etc/rc?.d", "/etc/security", "/etc/selinux", "/etc/skel", "/etc/ssh", "/etc/sudoers.d", "/etc/sysctl.d",
    "/etc/systemd", "/etc/tmpfiles.d", "/etc/udev",
    "/usr/bin", "/usr/games", "/usr/include", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/libx32", "/usr/sbin",
    "/usr/src",
    "/usr/lib/*-linux-*", "/usr/lib/*.d", "/usr/lib/apt", "/usr/lib/dbus-1.0", "/usr/lib/dpkg", "/usr/lib/firmware",
    "/usr/lib/immutable", "/usr/lib/init", "/usr/lib/kernel", "/usr/lib/locale", "/usr/lib/modules",
    "/usr/lib/openssh", "/usr/lib/python*", "/usr/lib/ssl", "/usr/lib/systemd", "/usr/lib/udev",
    "/usr/local/bin", "/usr/local/lib", "/usr/local/sbin",
    "/usr/share/ca-certificates", "/usr/share/dbus-1", "/usr/share/locale", "/usr/share/pam*", "/usr/share/zoneinfo",
    "/etc/fstab", "/etc/group", "/etc/gshadow", "/etc/hostname", "/etc/hosts", "/etc/ld.so.*", "/etc/locale.*",
    "/etc/localtime", "/etc/machine-id", "/etc/mtab", "/etc/nsswitch.conf", "/etc/os-release", "/etc/passwd",
    "/etc/resolv.conf", "/etc/shadow", "/etc/shells", "/etc/subgid", "/etc/subuid", "/etc/sudoers",
)
# Only these folders themselves are refused, not those inside them.
SYSTEM_FOLDERS = ("/", "/etc", "/usr", "/usr/lib", "/usr/local", "/usr/share")
# fmt: on
MAX_LINKS = 40  # as in the kernel


def within(path: str, folder: str) -> bool:
    """Return whether a path is a folder or in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def hides_system(path: str) -> bool:
    """Return whether a mount at an absolute path would hide a part of the system."""
    plain = "/" + posixpath.normpath(path).lstrip("/")
    parents = [plain]
    while parents[-1] != "/":
        parents.append(posixpath.dirname(parents[-1]))
    return (
        plain in SYSTEM_FOLDERS
        or any(_matches(parent, system) for parent in parents for system in SYSTEM_PATHS)
        or any(within(system.partition("*")[0].partition("?")[0], plain) for system in SYSTEM_PATHS)
    )


def _matches(path: str, pattern: str) -> bool:
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


def is_reserved(path: str) -> bool:
    """Return whether an absolute path is in a file system that every boot mounts."""
    plain = "/" + posixpath.normpath(path).lstrip("/")
    return any(within(plain, reserved) for reserved in (*RESERVED_PATHS, *_LINKS_TO_RESERVED))


def mount_point(root: str, path: str) -> str:
    """Return where a mount at the path takes place in the file system below ``root``, following its links.

    Raises Refused if nothing may be mounted there, OSError.
    """
    if not path.startswith("/") or path != posixpath.normpath(path) or path.startswith("//"):
        raise Refused(f"{path!r} cannot be mounted (allowed: an absolute path without '.', '..' and a final slash)")
    if not path.isprintable() or "\\" in path or path != path.strip():
        raise Refused(
            f"{path!r} cannot be mounted by systemd (allowed: a path without control characters and backslashes that"
            " does not end with a space)"
        )
    actual = resolved(root, path)
    leads = f"{path!r} leads to {actual!r}, which" if actual != path else f"{path!r}"
    if is_reserved(actual) or hides_system(actual):
        raise Refused(
            f"{leads} belongs to the system, so nothing can be mounted there (allowed: a folder of the service)"
        )
    existing = os.path.join(root, actual.lstrip("/"))
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise Refused(f"{leads} is not a folder, so nothing can be mounted there (allowed: a folder)")
    return actual


def resolved(root: str, path: str) -> str:
    """Return the path without links. Absolute links start at ``root``. What does not exist stays as it is.

    Raises Refused if the links form a loop, OSError.
    """
    rest = path.strip("/").split("/")
    found: list[str] = []
    links = 0
    while rest:
        part = rest.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            found = found[:-1]
            continue
        full = os.path.join(root, *found, part)
        if not os.path.islink(full):
            found.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            raise Refused(f"{path!r} is a loop of links (allowed: a folder)")
        target = os.readlink(full)
        if target.startswith("/"):
            found = []
        rest = [*target.split("/"), *rest]
    return "/" + "/".join(found)
