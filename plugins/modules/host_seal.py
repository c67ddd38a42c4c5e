#!/usr/bin/python
# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: host_seal
short_description: Prepare a root file system to run read-only
version_added: 0.1.0
author: immutable.infra contributors (@immutable-infra)
description:
  - This is the last step of a bake. It installs everything that a host needs to run on a read-only root, and removes
    everything that must not stay in an image. It also writes the data that the host reports when it seals itself
    after each launch.
  - If the base has cloud-init, the module disables it, because cloud-init writes to the root at each boot. The
    network is then configured by DHCP.
  - The role P(immutable.infra.seal#role) runs this module inside the build machine. Do not use it on running hosts.
extends_documentation_fragment:
  - immutable.infra.attributes
attributes:
  check_mode:
    support: none
    details: The task is skipped in check mode.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  root:
    description: Root of the file system to seal.
    type: path
    default: /
  files:
    description: Folders whose contents are copied to the root.
    type: list
    elements: path
    required: true
  service:
    description: Name of the service.
    type: str
    required: true
  version:
    description: Version of the service.
    type: str
    required: true
  digest:
    description: Digest of the image that is being baked.
    type: str
    required: true
  shell:
    description: V(restricted) if hosts accept logins with one key, or V(off) if they accept no logins.
    type: str
    choices: [restricted, "off"]
    default: restricted
  user_namespaces:
    description:
      - Whether unprivileged users of a host may create user namespaces. Rootless containers and the sandboxes of
        browsers need them.
      - Otherwise, each boot sets the kernel parameter C(kernel.unprivileged_userns_clone) to 0. On kernels without it,
        C(user.max_user_namespaces) is set to 0, which applies to root as well.
    type: bool
    default: false
    version_added: 0.3.0
  log_size:
    description:
      - Maximum size of C(/var/log), which is in memory. An integer with V(M) or V(G), or a percentage of the host's
        memory.
    type: str
    default: 20%
    version_added: 0.3.0
  kind:
    description:
      - What the image is for. V(machine) is a virtual machine, which mounts everything itself. V(container) is a
        container, for which the engine mounts everything. The file C(/usr/lib/immutable/container.json) in the image
        says what.
    type: str
    choices: [machine, container]
    default: machine
    version_added: 0.3.0
  command:
    description:
      - The first process of a container, and its arguments. The program is an absolute path in the image, or a name
        that is looked up in its folders of programs.
      - By default, it is systemd, which reads the launch document and seals the host at the end of each boot. With a
        command, nothing is installed in the image. The engine then provides secrets and settings.
      - Requires O(kind=container).
    type: list
    elements: str
    default: []
    version_added: 0.3.0
  user:
    description:
      - User, or user and group separated by a colon, that runs O(command). The default is root.
    type: str
    version_added: 0.3.0
  writable:
    description:
      - Paths that the service writes to and whose content is lost with the host. Each becomes a tmpfs.
      - A path may lead through symbolic links. Nothing can be mounted where it would hide the system, such as in
        C(/boot), C(/etc/systemd) or C(/usr/lib/systemd).
    type: list
    elements: path
    default: []
  data:
    description: Data volumes.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the volume. On the host, its device is C(/dev/disk/immutable/NAME).
        type: str
        required: true
      mount:
        description: Path at which the volume is mounted.
        type: path
        required: true
      owner:
        description:
          - User, or user and group separated by a colon, to whom the data belongs. The path gets this owner.
          - The default is the path's present owner.
        type: str
        version_added: 0.3.0
      reown:
        description:
          - Whether a host may give the files of the volume to the owner's uid and gid, if the image before had others.
        type: bool
        default: false
        version_added: 0.3.0
      noexec:
        description:
          - Whether the volume is mounted so that no program on it can be executed. Each volume is mounted with
            C(nosuid) and C(nodev).
        type: bool
        default: false
        version_added: 0.3.0
"""

EXAMPLES = r"""
- name: Seal the build machine
  immutable.infra.host_seal:
    files: [/dev/shm/seal/files/launch, /dev/shm/seal/files/seal]
    service: shop
    version: "1.4.2"
    digest: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    writable: [/var/cache/shop]
    data:
      - name: uploads
        mount: /var/lib/shop
"""

RETURN = r"""
paths:
  description: Every path that was written, linked or removed.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.immutable.infra.plugins.module_utils._seal import Spec, seal
from ansible_collections.immutable.infra.plugins.module_utils._seal_changes import Refused
from ansible_collections.immutable.infra.plugins.module_utils._seal_tmpfs import LOG_SIZE


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "files": {"type": "list", "elements": "path", "required": True},
            "service": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "digest": {"type": "str", "required": True},
            "shell": {"type": "str", "choices": ["restricted", "off"], "default": "restricted"},
            "user_namespaces": {"type": "bool", "default": False},
            "log_size": {"type": "str", "default": LOG_SIZE},
            "kind": {"type": "str", "choices": ["machine", "container"], "default": "machine"},
            "command": {"type": "list", "elements": "str", "default": []},
            "user": {"type": "str"},
            "writable": {"type": "list", "elements": "path", "default": []},
            "data": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "mount": {"type": "path", "required": True},
                    "owner": {"type": "str"},
                    "reown": {"type": "bool", "default": False},
                    "noexec": {"type": "bool", "default": False},
                },
            },
        },
    )
    given = module.params
    if given["command"] and given["kind"] != "container":
        module.fail_json(msg="command needs kind: container, because every other host needs systemd")
    if given["user"] and not given["command"]:
        module.fail_json(msg="user needs command, which is what it runs")
    spec = Spec(
        service=given["service"],
        version=given["version"],
        digest=given["digest"],
        shell=given["shell"],
        writable=tuple(given["writable"]),
        user_namespaces=given["user_namespaces"],
        log_size=given["log_size"],
        data=tuple((volume["name"], volume["mount"]) for volume in given["data"]),
        owners=tuple((volume["name"], volume["owner"]) for volume in given["data"] if volume["owner"]),
        reowned=tuple(volume["name"] for volume in given["data"] if volume["reown"]),
        noexec=tuple(volume["name"] for volume in given["data"] if volume["noexec"]),
        container=given["kind"] == "container",
        command=tuple(given["command"]),
        user=given["user"] or "",
    )
    try:
        paths = seal(given["root"], given["files"], spec)
    except Refused as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"cannot seal {given['root']}: {error}")
    module.exit_json(changed=bool(paths), paths=paths)


if __name__ == "__main__":
    main()
