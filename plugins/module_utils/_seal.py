# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prepares a root file system to run read-only. This is the last step of a bake before the image is taken.

Everything is written below ``root``, so that tests can seal a folder.
"""

from __future__ import annotations

import glob
import json
import os
import re
import stat
from dataclasses import dataclass, replace
from typing import Iterable

from ._mounts import unescaped
from ._residue import DBUS_MACHINE_ID, LOGS, MACHINE_ID, REMOVED_FILES, REMOVED_TREES, shell_patterns
from ._seal_accounts import account, lock_accounts
from ._seal_changes import Changes, Refused, owner
from ._seal_cloud import replace_cloud_init
from ._seal_container import COMMAND_MOUNTS, COVERS, write_facts
from ._seal_paths import mount_point
from ._seal_selinux import mount_option, restore_labels
from ._seal_services import give_logins_a_locale, let_name_servers_change, service_state
from ._seal_text import fstab_field, unit_instance
from ._seal_tmpfs import (
    LOG_FOLDER,
    LOG_SIZE,
    ROTATION_TIMER,
    TEMPORARY,
    rotates_logs,
    tmpfs_paths,
    write_skeleton,
)
from ._seal_volumes import order_after_tmpfs

# Set-user-ID bits and devices have no effect where services write.
MOUNT_OPTIONS = ("nosuid", "nodev")
FACTS_PATH = "/usr/lib/immutable/seal.json"
REOWNED_PATH = "/usr/lib/immutable/reown-volumes"

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
    "man-db.timer",
    "serial-getty@.service",
    "sshd-keygen@.service",
    "systemd-machine-id-commit.service",
    "systemd-random-seed.service",
    "unattended-upgrades.service",
)
# Nobody logs in to a container, and its network, its clock and its devices are those of the machine that it runs on.
MASKED_IN_CONTAINERS = (
    "chrony.service",
    "dhcpcd.service",
    "ifup@.service",
    "networking.service",
    "ntpsec.service",
    "openntpd.service",
    "ssh.service",
    "ssh.socket",
    "ssh@.service",
    "systemd-logind.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-networkd-wait-online.service",
    "systemd-timesyncd.service",
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
)
# systemd cannot mount a transient machine id in a container. It writes the id where a link leads.
RUNNING_MACHINE_ID = "/run/machine-id"
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
# The image's own mounts, and options that make no sense for a file system that is never written.
IMAGE_MOUNTS = ("/", "/boot", "/boot/efi")
NOT_READ_ONLY = ("rw", "ro", "defaults", "errors=remount-ro", "discard", "x-systemd.growfs", "x-systemd.makefs")


# What the files that the seal writes can hold. Definitions allow less.
_TEXT = (re.compile(r"""[^'"\\\x00-\x1f\x7f-\U0010ffff]{1,128}"""), "printable ASCII without quotes and backslashes")
_VOLUME_NAME = (re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,35}"), "letters, digits and _ . -, at most 36 characters")
_SIZE = (
    re.compile(r"[1-9][0-9]{0,8}[MG]|[1-9][0-9]?%"),
    "a size such as 64M or 2G, or a percentage of memory such as 10%",
)


@dataclass(frozen=True)
class Spec:
    """What the definition says about the host.

    Attributes:
        data: the name and the mount point of each data volume.
        owners: by volume, "user" or "user:group", by name, if it is not the owner of the mount point.
        reowned: volumes whose files follow the owner's uid and gid.
        noexec: volumes on which nothing can be executed.
        user_namespaces: whether unprivileged users may create user namespaces.
        log_size: the most that /var/log may hold, as an integer with K, M or G, or as a percentage of memory.
        container: whether the image is for containers.
        command: the first process of a container; empty for systemd.
        user: "user" or "user:group" of the command, by name; "" for root.
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
    log_size: str = LOG_SIZE
    container: bool = False
    command: tuple[str, ...] = ()
    user: str = ""


def seal(root: str, files: Iterable[str], spec: Spec) -> list[str]:
    """Seal the file system below ``root`` and return the changed paths.

    Args:
        files: folders whose trees are copied into the file system.

    Raises Refused if a host could not have something as the spec or the image says, and OSError.
    """
    changes = Changes(root)
    spec = _checked(root, spec)
    if spec.command:
        tmpfs = sorted({*COMMAND_MOUNTS, *spec.writable})
    else:
        volumes = [mount for _name, mount in spec.data]
        tmpfs = tmpfs_paths(changes, (*spec.writable, *service_state(changes, volumes)), volumes)
        _let_systemd_seal(changes, files, container=spec.container)
    if spec.container:
        _leave_mounts_to_engine(changes, tmpfs, spec)
    else:
        _write_fstab(changes, tmpfs, spec)
        order_after_tmpfs(changes.write, tmpfs, spec.data)
    _own_mounts(changes, spec)
    _write_identity(changes, tmpfs, spec)
    lock_accounts(changes)
    if not spec.container:
        let_name_servers_change(changes)
        give_logins_a_locale(changes)
    _remove_residue(changes, machine_id_in_run=spec.container and not spec.command)
    if spec.container:
        write_facts(changes, tmpfs, spec.command, user=spec.user, log_size=spec.log_size)
    if not spec.command:
        write_skeleton(changes, tmpfs, own=spec.container)
    _disable_package_managers(changes)
    restore_labels(changes, changes.paths)
    return changes.paths


def _let_systemd_seal(changes: Changes, files: Iterable[str], *, container: bool) -> None:
    """Install what reads the launch document and seals the host, and disable what makes no sense on it."""
    for folder in files:
        _install_tree(changes, folder)
    for unit, target in ENABLED.items():
        changes.link(f"/etc/systemd/system/{target}.wants/{unit}", f"/usr/lib/systemd/system/{unit}")
    for unit in (*MASKED, *(MASKED_IN_CONTAINERS if container else ())):
        changes.link(f"/etc/systemd/system/{unit}", "/dev/null")
    if not rotates_logs(changes):
        changes.link(f"/etc/systemd/system/{ROTATION_TIMER}", "/dev/null")
    if os.path.isdir(changes.full_path("/etc/cloud")):
        replace_cloud_init(changes, network=not container)


def _checked(root: str, spec: Spec) -> Spec:
    """Return the spec with the paths at which the mounts take place. Raises Refused."""
    texts = (("service", spec.service), ("version", spec.version), ("digest", spec.digest), ("shell", spec.shell))
    volumes = [("name of a data volume", name, *_VOLUME_NAME) for name, _mount in spec.data]
    for what, value, pattern, allowed in (
        *((what, value, *_TEXT) for what, value in texts),
        ("log_size", spec.log_size, *_SIZE),
        *volumes,
    ):
        if not pattern.fullmatch(value):
            raise Refused(f"{value!r} is not a valid {what} (allowed: {allowed})")
    for _name, mount in spec.data:
        mount_point(root, mount)
    return replace(spec, writable=tuple(mount_point(root, path) for path in spec.writable))


def _install_tree(changes: Changes, folder: str) -> None:
    for parent, _dirs, names in sorted(os.walk(folder)):
        for name in sorted(names):
            source = os.path.join(parent, name)
            with open(source, encoding="utf-8") as file:
                text = file.read()
            mode = 0o755 if os.access(source, os.X_OK) else 0o644
            changes.write("/" + os.path.relpath(source, folder), text, mode)


def _leave_mounts_to_engine(changes: Changes, tmpfs: Iterable[str], spec: Spec) -> None:
    """Nothing in a container can mount anything, so a line of fstab would fail at each boot."""
    if not spec.command:
        changes.write("/etc/fstab", "# The container engine mounts everything.\n")
    for path in (*tmpfs, *(mount for _name, mount in spec.data)):
        os.makedirs(changes.full_path(path), exist_ok=True)


def _write_fstab(changes: Changes, tmpfs: Iterable[str], spec: Spec) -> None:
    own_mounts = {*tmpfs, *(mount for _name, mount in spec.data)}
    existing = "\n".join(changes.lines("/etc/fstab")).rstrip("\n")
    lines = [_read_only(line) for line in existing.split("\n") if existing and _mount_of(line) not in own_mounts]
    for path in tmpfs:
        os.makedirs(changes.full_path(path), exist_ok=True)
    restore_labels(changes, tmpfs)
    for path in tmpfs:
        mode, uid, gid = (0o1777, 0, 0) if path in TEMPORARY else owner(changes.full_path(path))
        size = f",size={spec.log_size}" if path == LOG_FOLDER else ""
        options = f"rw,{','.join(MOUNT_OPTIONS)},mode={mode:04o},uid={uid},gid={gid}{size}{mount_option(changes, path)}"
        lines.append(f"tmpfs {fstab_field(path)} tmpfs {options} 0 0")
    for name, mount in spec.data:
        os.makedirs(changes.full_path(mount), exist_ok=True)
        # No timeout: the volume arrives when the previous host has released it.
        unit = f"immutable-data@{unit_instance(name)}.service".replace("\\", "\\\\")
        own = ",".join(_data_options(spec, name))
        options = f"rw,noatime,{own},nofail,x-systemd.device-timeout=0,x-systemd.requires={unit}"
        lines.append(f"/dev/disk/immutable/{name} {fstab_field(mount)} ext4 {options} 0 0")
    changes.write("/etc/fstab", "\n".join(lines) + "\n")


def _mount_of(line: str) -> str:
    fields = line.split()
    return os.path.normpath(unescaped(fields[1])) if len(fields) > 1 and not fields[0].startswith("#") else ""


def _data_options(spec: Spec, volume: str) -> tuple[str, ...]:
    return (*MOUNT_OPTIONS, *(("noexec",) if volume in spec.noexec else ()))


def _own_mounts(changes: Changes, spec: Spec) -> None:
    """Give each mount point to the volume's owner. A new file system takes its owner over, and so do later images."""
    mounts = dict(spec.data)
    for volume, names in spec.owners:
        user, _colon, group = names.partition(":")
        uid, own_gid = account(changes, "passwd", user, f"data volume {volume}")
        gid = account(changes, "group", group, f"data volume {volume}")[0] if group else own_gid
        full = changes.full_path(mounts[volume])
        info = os.stat(full)
        if (info.st_uid, info.st_gid) != (uid, gid):
            os.chown(full, uid, gid)
            changes.paths.append(mounts[volume])
    if spec.reowned:
        changes.write(REOWNED_PATH, "".join(f"{volume}\n" for volume in sorted(spec.reowned)))


def _read_only(line: str) -> str:
    fields = line.split()
    if line.lstrip().startswith("#") or len(fields) < 4 or fields[1] not in IMAGE_MOUNTS:
        return line
    options = [option for option in fields[3].split(",") if option not in NOT_READ_ONLY]
    return " ".join([*fields[:3], ",".join(["ro", *options]), "0", "0"])


def _write_identity(changes: Changes, tmpfs: Iterable[str], spec: Spec) -> None:
    values = {"digest": spec.digest, "shell": spec.shell, "service": spec.service, "version": spec.version}
    environment = {**values, **({"user_namespaces": "on"} if spec.user_namespaces else {})}
    if not spec.command:
        changes.write(
            "/usr/lib/immutable/seal.env", "".join(f"{key}='{value}'\n" for key, value in environment.items())
        )
    facts = {
        **values,
        "covers": sorted({*SYSTEM_COVERS, *(COVERS if spec.container else ()), *tmpfs}),
        "data": [mount for _name, mount in spec.data],
        "writable": sorted(spec.writable),
    }
    changes.write(FACTS_PATH, json.dumps(facts, indent=2, sort_keys=True) + "\n")
    if not spec.command:  # without the seal's units, nothing would write the fact
        changes.link("/etc/ansible/facts.d/immutable.fact", "/run/immutable/fact.json")


def _remove_residue(changes: Changes, *, machine_id_in_run: bool) -> None:
    for pattern in (shell for each in (*REMOVED_FILES, *REMOVED_TREES) for shell in shell_patterns(each)):
        for full in sorted(glob.glob(glob.escape(changes.root.rstrip("/")) + pattern)):
            if os.path.abspath(__file__).startswith(full + os.sep):
                continue  # the running program itself, which Ansible unpacks here and removes afterwards
            if pattern == LOGS:
                _remove_logs(changes, full)
            else:
                changes.remove(os.path.relpath(full, changes.root))
    # Empty instead of missing. Without the file each boot would be a first boot.
    if machine_id_in_run:
        changes.link(MACHINE_ID, RUNNING_MACHINE_ID)
    else:
        changes.write(MACHINE_ID, "", 0o444)
    # systemd-tmpfiles would create this link at each boot, and could not.
    if os.path.isdir(os.path.dirname(changes.full_path(DBUS_MACHINE_ID))):
        changes.link(DBUS_MACHINE_ID, MACHINE_ID)


def _remove_logs(changes: Changes, full: str) -> None:
    """Remove only files: services need their log folders, and links to where their logs are."""
    if os.path.islink(full):
        return
    if not os.path.isdir(full):
        changes.remove(os.path.relpath(full, changes.root))
    for parent, _folders, names in os.walk(full):
        for each in (os.path.join(parent, name) for name in names):
            if not os.path.islink(each):
                changes.remove(os.path.relpath(each, changes.root))


def _disable_package_managers(changes: Changes) -> None:
    for name in PACKAGE_MANAGERS:
        for folder in ("usr/bin", "usr/sbin", "usr/local/bin"):
            full = changes.full_path(os.path.join(folder, name))
            if os.path.isfile(full) and not os.path.islink(full) and os.access(full, os.X_OK):
                os.chmod(full, stat.S_IMODE(os.stat(full).st_mode) & ~0o111)
                changes.paths.append(os.path.join("/", folder, name))
