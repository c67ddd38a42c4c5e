# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prepares a root file system to run read-only. This is the last step of a bake before the image is taken.

Everything is written below ``root``, so that tests can seal a folder.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import stat
from dataclasses import dataclass, field, replace
from typing import Iterable

from ._residue import DBUS_MACHINE_ID, LOGS, MACHINE_ID, REMOVED_FILES, REMOVED_TREES, shell_patterns
from ._seal_services import service_state
from ._seal_volumes import order_after_tmpfs

# Set-user-ID bits and devices have no effect where services write.
MOUNT_OPTIONS = ("nosuid", "nodev")
FACTS_PATH = "/usr/lib/immutable/seal.json"
REOWNED_PATH = "/usr/lib/immutable/reown-volumes"

# What every system writes while it runs. The definition's ``writable`` lists only what the service writes.
SYSTEM_WRITABLE = ("/tmp", "/var/tmp", "/var/log", "/var/lib/systemd")
# systemd mounts a transient machine-id over the empty file on a read-only root.
SYSTEM_COVERS = ("/dev", "/etc/machine-id", "/proc", "/run", "/sys")
ENABLED = {
    "immutable-launch.service": "sysinit.target",
    "immutable-seal.service": "multi-user.target",
}
# No logins on consoles, no automatic updates, and no writes to the root.
MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "autovt@.service",
    "console-getty.service",
    "container-getty@.service",
    "debug-shell.service",
    "dnf-makecache.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@.service",
    "grub-common.service",
    "grub-initrd-fallback.service",
    "logrotate.timer",
    "man-db.timer",
    "serial-getty@.service",
    "systemd-machine-id-commit.service",
    "systemd-random-seed.service",
    "unattended-upgrades.service",
)
PACKAGE_MANAGERS = (
    "apt",
    "apt-get",
    "aptitude",
    "dpkg",
    "dnf",
    "yum",
    "rpm",
    "zypper",
    "apk",
    "pacman",
    "snap",
    "pip",
    "pip3",
)
# Replace cloud-init, which writes to the root at each boot: this file disables it, and systemd-networkd uses the
# cloud's DHCP.
CLOUD_FILES = {
    "/etc/cloud/cloud-init.disabled": "",
    "/etc/hostname": "localhost\n",  # means no name of its own: the DHCP server's name is used
    "/etc/systemd/network/80-immutable.network": (
        "[Match]\nType=ether\n\n[Network]\nDHCP=yes\n\n[DHCPv4]\nClientIdentifier=mac\n"
    ),
}
CLOUD_ENABLED = {
    "systemd-networkd.service": "multi-user.target",
    "systemd-networkd.socket": "sockets.target",
    "systemd-networkd-wait-online.service": "network-online.target",  # only if a service needs that target
}
CLOUD_MASKED = ("ifup@.service", "networking.service")  # one DHCP client is enough
# The image's own mounts, and options that make no sense for a file system that is never written.
IMAGE_MOUNTS = ("/", "/boot", "/boot/efi")
NOT_READ_ONLY = ("rw", "ro", "defaults", "errors=remount-ro", "discard", "x-systemd.growfs", "x-systemd.makefs")


class UnknownOwner(Exception):
    """A data volume's owner is no user or group of the image."""


@dataclass(frozen=True)
class Spec:
    """What the definition says about the host.

    Attributes:
        data: the name and the mount point of each data volume.
        owners: by volume, "user" or "user:group", by name, if it is not the owner of the mount point.
        reowned: volumes whose files follow the owner's uid and gid.
        noexec: volumes on which nothing can be executed.
        user_namespaces: whether unprivileged users may create user namespaces.
    """

    service: str
    version: str
    digest: str
    shell: str = "restricted"
    writable: tuple[str, ...] = ()
    data: tuple[tuple[str, str], ...] = ()
    owners: tuple[tuple[str, str], ...] = ()
    reowned: tuple[str, ...] = ()
    noexec: tuple[str, ...] = ()
    user_namespaces: bool = False


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@dataclass
class Changes:
    """Writes below ``root`` and collects the changed paths. A second run changes nothing."""

    root: str
    paths: list[str] = field(default_factory=list)

    def full_path(self, path: str) -> str:
        return os.path.join(self.root, path.lstrip("/"))

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file, unless it has this content and mode already."""
        full = self.full_path(path)
        if os.path.isfile(full) and not os.path.islink(full):
            with open(full, encoding="utf-8", errors="surrogateescape") as old:
                if old.read() == text and stat.S_IMODE(os.stat(full).st_mode) == mode:
                    return
        os.makedirs(os.path.dirname(full), exist_ok=True)
        # Private until it is complete, because one of these files is /etc/shadow.
        with open(full + ".new", "w", encoding="utf-8", errors="surrogateescape", opener=_private) as new:
            new.write(text)
        os.chmod(full + ".new", mode)
        os.replace(full + ".new", full)
        self.paths.append(path)

    def link(self, path: str, target: str) -> None:
        """Create a symbolic link. Replaces an existing file."""
        full = self.full_path(path)
        if os.path.islink(full) and os.readlink(full) == target:
            return
        os.makedirs(os.path.dirname(full), exist_ok=True)
        if os.path.lexists(full):
            os.remove(full)
        os.symlink(target, full)
        self.paths.append(path)

    def remove(self, path: str) -> None:
        """Remove a file or a folder with its content."""
        full = self.full_path(path)
        if os.path.isdir(full) and not os.path.islink(full):
            shutil.rmtree(full)
        else:
            os.remove(full)
        self.paths.append(path)


def seal(root: str, files: Iterable[str], spec: Spec) -> list[str]:
    """Seal the file system below ``root`` and return the changed paths. Raises OSError.

    Args:
        files: folders whose trees are copied into the file system.
    """
    changes = Changes(root)
    for folder in files:
        _install_tree(changes, folder)
    for unit, target in ENABLED.items():
        changes.link(f"/etc/systemd/system/{target}.wants/{unit}", f"/usr/lib/systemd/system/{unit}")
    for unit in MASKED:
        changes.link(f"/etc/systemd/system/{unit}", "/dev/null")
    if os.path.isdir(changes.full_path("/etc/cloud")):
        _replace_cloud_init(changes)
    state = service_state(root, [mount for _name, mount in spec.data])
    tmpfs = _tmpfs_paths(replace(spec, writable=(*spec.writable, *state)))
    _write_skeleton(changes, tmpfs)
    _write_fstab(changes, tmpfs, spec)
    order_after_tmpfs(changes.write, tmpfs, spec.data)
    _own_mounts(changes, spec)
    _write_identity(changes, tmpfs, spec)
    _lock_passwords(changes)
    _remove_residue(changes)
    _disable_package_managers(changes)
    return changes.paths


def _install_tree(changes: Changes, folder: str) -> None:
    for parent, _dirs, names in sorted(os.walk(folder)):
        for name in sorted(names):
            source = os.path.join(parent, name)
            with open(source, encoding="utf-8") as file:
                text = file.read()
            mode = 0o755 if os.access(source, os.X_OK) else 0o644
            changes.write("/" + os.path.relpath(source, folder), text, mode)


def _replace_cloud_init(changes: Changes) -> None:
    for path, text in CLOUD_FILES.items():
        changes.write(path, text)
    for unit, target in CLOUD_ENABLED.items():
        changes.link(f"/etc/systemd/system/{target}.wants/{unit}", f"/usr/lib/systemd/system/{unit}")
    for unit in CLOUD_MASKED:
        changes.link(f"/etc/systemd/system/{unit}", "/dev/null")


def _tmpfs_paths(spec: Spec) -> list[str]:
    """The paths to mount a tmpfs on, without those inside another one."""
    paths: list[str] = []
    for path in sorted({os.path.normpath(p) for p in (*SYSTEM_WRITABLE, *spec.writable)}):
        if not any(path == p or path.startswith(p + "/") for p in (*paths, "/run")):
            paths.append(path)
    return paths


def _owner(path: str) -> tuple[int, int, int]:
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return (0o755, 0, 0)
    return (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)


def _write_skeleton(changes: Changes, tmpfs: Iterable[str]) -> None:
    """Recreate the directories below each tmpfs at boot, empty, with their owners and modes."""
    lines = ["# Written at bake time from the directories that the mounted tmpfs hide.\n"]
    for path in tmpfs:
        if path in ("/tmp", "/var/tmp"):
            continue
        for parent, dirs, _names in os.walk(changes.full_path(path)):
            for name in sorted(dirs):
                full = os.path.join(parent, name)
                if not os.path.islink(full):
                    mode, uid, gid = _owner(full)
                    quoted = (
                        os.path.join("/", os.path.relpath(full, changes.root)).replace("%", "%%").replace(" ", "\\x20")
                    )
                    lines.append(f"d {quoted} {mode:04o} {uid} {gid} -\n")
    changes.write("/usr/lib/tmpfiles.d/immutable.conf", "".join([lines[0], *sorted(lines[1:])]))


def _write_fstab(changes: Changes, tmpfs: Iterable[str], spec: Spec) -> None:
    own_mounts = {*tmpfs, *(mount for _name, mount in spec.data)}
    existing = []
    full = changes.full_path("/etc/fstab")
    if os.path.exists(full):
        with open(full, encoding="utf-8", errors="surrogateescape") as file:
            existing = [
                _read_only(line)
                for line in file.read().splitlines()
                if len(line.split()) < 2 or line.split()[1] not in own_mounts
            ]
    lines = list(existing)
    for path in tmpfs:
        os.makedirs(changes.full_path(path), exist_ok=True)
        mode, uid, gid = (0o1777, 0, 0) if path in ("/tmp", "/var/tmp") else _owner(changes.full_path(path))
        lines.append(
            f"tmpfs {_quoted(path)} tmpfs rw,{','.join(MOUNT_OPTIONS)},mode={mode:04o},uid={uid},gid={gid} 0 0"
        )
    for name, mount in spec.data:
        os.makedirs(changes.full_path(mount), exist_ok=True)
        # No timeout: the volume arrives when the previous host has released it.
        unit = f"immutable-data@{_unit_name(name)}.service"
        own = ",".join(_data_options(spec, name))
        options = f"rw,noatime,{own},nofail,x-systemd.device-timeout=0,x-systemd.requires={unit}"
        lines.append(f"/dev/disk/immutable/{name} {_quoted(mount)} ext4 {options} 0 0")
    changes.write("/etc/fstab", "\n".join(lines) + "\n")


def _data_options(spec: Spec, volume: str) -> tuple[str, ...]:
    return (*MOUNT_OPTIONS, *(("noexec",) if volume in spec.noexec else ()))


def _own_mounts(changes: Changes, spec: Spec) -> None:
    """Give each mount point to the volume's owner. A new file system takes its owner over, and so do later images."""
    mounts = dict(spec.data)
    for volume, owner in spec.owners:
        user, _colon, group = owner.partition(":")
        uid, own_gid = _entry(changes, "passwd", user, volume)
        gid = _entry(changes, "group", group, volume)[0] if group else own_gid
        full = changes.full_path(mounts[volume])
        info = os.stat(full)
        if (info.st_uid, info.st_gid) != (uid, gid):
            os.chown(full, uid, gid)
            changes.paths.append(mounts[volume])
    if spec.reowned:
        changes.write(REOWNED_PATH, "".join(f"{volume}\n" for volume in sorted(spec.reowned)))


def _entry(changes: Changes, file: str, name: str, volume: str) -> tuple[int, int]:
    """The two numbers of a user or group in the image. The second one is the user's group, for a group -1."""
    with open(changes.full_path(f"/etc/{file}"), encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.rstrip("\n").split(":")
            if fields[0] == name and len(fields) > 3 and fields[2].isdigit():
                return int(fields[2]), int(fields[3]) if file == "passwd" and fields[3].isdigit() else -1
    kind = "user" if file == "passwd" else "group"
    raise UnknownOwner(f"data volume {volume}: the image has no {kind} {name!r} (allowed: one of /etc/{file})")


def _unit_name(name: str) -> str:
    """Escape a volume's name like systemd-escape. fstab needs a doubled backslash."""
    return name.replace("-", "\\\\x2d")


def _quoted(path: str) -> str:
    return path.replace(" ", "\\040")


def _read_only(line: str) -> str:
    fields = line.split()
    if line.lstrip().startswith("#") or len(fields) < 4 or fields[1] not in IMAGE_MOUNTS:
        return line
    options = [option for option in fields[3].split(",") if option not in NOT_READ_ONLY]
    return " ".join([*fields[:3], ",".join(["ro", *options]), "0", "0"])


def _write_identity(changes: Changes, tmpfs: Iterable[str], spec: Spec) -> None:
    values = {"digest": spec.digest, "shell": spec.shell, "service": spec.service, "version": spec.version}
    environment = {**values, **({"user_namespaces": "on"} if spec.user_namespaces else {})}
    changes.write("/usr/lib/immutable/seal.env", "".join(f"{key}='{value}'\n" for key, value in environment.items()))
    facts = {
        **values,
        "covers": sorted({*SYSTEM_COVERS, *tmpfs}),
        "data": [mount for _name, mount in spec.data],
        "writable": sorted(spec.writable),
    }
    changes.write(FACTS_PATH, json.dumps(facts, indent=2, sort_keys=True) + "\n")
    changes.link("/etc/ansible/facts.d/immutable.fact", "/run/immutable/fact.json")


def _lock_passwords(changes: Changes) -> None:
    """Disable every password. With ``*`` sshd does not treat the account as locked."""
    full = changes.full_path("/etc/shadow")
    if not os.path.exists(full):
        return
    with open(full, encoding="utf-8", errors="surrogateescape") as file:
        rows = [line.split(":") for line in file.read().splitlines()]
    locked = [
        [row[0], "*" if not row[1].startswith("!") else row[1], *row[2:]] if len(row) > 1 else row for row in rows
    ]
    if locked != rows:
        mode, uid, gid = _owner(full)
        changes.write("/etc/shadow", "".join(":".join(row) + "\n" for row in locked), mode)
        os.chown(full, uid, gid)


def _remove_residue(changes: Changes) -> None:
    for pattern in (shell for each in (*REMOVED_FILES, *REMOVED_TREES) for shell in shell_patterns(each)):
        for full in sorted(glob.glob(glob.escape(changes.root.rstrip("/")) + pattern)):
            if os.path.abspath(__file__).startswith(full + os.sep):
                continue  # the running program itself, which Ansible unpacks here and removes afterwards
            # Remove only the files: services need their log directories.
            if pattern == LOGS and os.path.isdir(full):
                for parent, _dirs, names in os.walk(full):
                    for name in names:
                        changes.remove(os.path.relpath(os.path.join(parent, name), changes.root))
                continue
            changes.remove(os.path.relpath(full, changes.root))
    # Empty instead of missing. Without the file each boot would be a first boot.
    changes.write(MACHINE_ID, "", 0o444)
    # systemd-tmpfiles would create this link at each boot, and could not.
    if os.path.isdir(os.path.dirname(changes.full_path(DBUS_MACHINE_ID))):
        changes.link(DBUS_MACHINE_ID, MACHINE_ID)


def _disable_package_managers(changes: Changes) -> None:
    for name in PACKAGE_MANAGERS:
        for folder in ("usr/bin", "usr/sbin", "usr/local/bin"):
            full = changes.full_path(os.path.join(folder, name))
            if os.path.isfile(full) and not os.path.islink(full) and os.access(full, os.X_OK):
                os.chmod(full, stat.S_IMODE(os.stat(full).st_mode) & ~0o111)
                changes.paths.append(os.path.join("/", folder, name))
