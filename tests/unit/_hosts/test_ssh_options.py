# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a real ssh does with a host's variables if the operator configured ssh and Ansible for other hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

INCLUDED = """
IgnoreUnknown UseKeychain
UseKeychain yes
ForwardAgent yes
ForwardX11 yes
RemoteForward 9000 localhost:80
LocalForward 9001 localhost:80
DynamicForward 9002
Tunnel yes
ControlMaster auto
ControlPath /tmp/%C
GSSAPIDelegateCredentials yes
AddKeysToAgent yes
PermitLocalCommand yes
LocalCommand touch ran
RemoteCommand touch ran
RequestTTY force
KnownHostsCommand /bin/echo %H
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
NoHostAuthenticationForLocalhost yes
UpdateHostKeys yes
VerifyHostKeyDNS yes
HostKeyAlias other
ProxyJump bastion.example.com
"""
OURS = {
    "clearallforwardings": ["yes"],
    "forwardagent": ["no"],
    "forwardx11": ["no"],
    "tunnel": ["false"],
    "gssapidelegatecredentials": ["no"],
    "addkeystoagent": ["false"],
    "permitlocalcommand": ["no"],
    "stricthostkeychecking": ["true"],
    "nohostauthenticationforlocalhost": ["no"],
    "updatehostkeys": ["false"],
    "verifyhostkeydns": ["false"],
    "hostkeyalias": ["shop-0"],
    "proxyjump": ["bastion.example.com"],
    # ssh does not show these if nothing is forwarded, run or asked
    "remoteforward": [],
    "localforward": [],
    "dynamicforward": [],
    "remotecommand": [],
    "knownhostscommand": [],
}
# In a process of its own, which reads the configuration.
VARIABLES = """
import json, sys
from pathlib import Path
from ansible_collections.immutable.infra.plugins.plugin_utils._hosts.ssh import host_vars
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import FLEET, RUNNING, Instance

instance = Instance(
    id="shop-0", fleet="shop", slot=0, image="", launch="", state=RUNNING, purpose=FLEET, created=1.0, nonce="n",
    endpoints={22: ("127.0.0.1", 40022)},
)
print(json.dumps(host_vars(instance, None, Path(sys.argv[1]) / "known_hosts")))
"""
Effective = Callable[..., dict[str, list[str]]]


@pytest.fixture
def effective(tmp_path: Path) -> Effective:
    """Return what ssh would do when Ansible runs a task on the host, by the lower-case name of the option."""
    (tmp_path / "included").write_text(INCLUDED)
    (tmp_path / "config").write_text(f"Include {tmp_path}/included\n")
    fake = tmp_path / "ssh"
    fake.write_text(f'#!/bin/sh\nexec ssh -F {tmp_path}/config -G "$@" > {tmp_path}/effective\n')
    fake.chmod(0o700)

    def run(configuration: str = "") -> dict[str, list[str]]:
        (tmp_path / "ansible.cfg").write_text(f"[ssh_connection]\n{configuration}\n")
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_SSH_EXECUTABLE": str(fake),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(tmp_path / "cp"),
        }
        made = subprocess.run(
            [sys.executable, "-c", VARIABLES, str(tmp_path)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        hosts = {"all": {"hosts": {"shop": json.loads(made.stdout)}}}
        (tmp_path / "hosts.json").write_text(json.dumps(hosts))
        argv = ["-m", "ansible", "adhoc", "-i", str(tmp_path / "hosts.json"), "shop", "-m", "raw", "-a", "true"]
        done = subprocess.run(
            [sys.executable, *argv], env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, list[str]] = {}
        for line in (tmp_path / "effective").read_text().splitlines():
            name, _space, value = line.partition(" ")
            found.setdefault(name, []).append(value)
        return found

    return run


def test_the_operators_configuration_of_ssh_is_for_other_hosts(effective: Effective, tmp_path: Path) -> None:
    found = effective()
    assert {name: found.get(name, []) for name in OURS} == OURS
    assert found["userknownhostsfile"] == [str(tmp_path / "known_hosts")]
    assert found["controlpersist"] == ["60"] and str(tmp_path / "cp") in found["controlpath"][0], "Ansible's own"


def test_arguments_in_the_configuration_of_ansible_do_not_precede(effective: Effective, tmp_path: Path) -> None:
    careless = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ForwardAgent=yes -o Compression=yes"
    found = effective(f"ssh_args = {careless}\nhost_key_checking = false")
    assert {name: found.get(name, []) for name in OURS} == OURS
    assert found["userknownhostsfile"] == [str(tmp_path / "known_hosts")]
    assert found["compression"] == ["yes"], "the other arguments stay"
    assert found["controlmaster"] == ["false"] and found.get("controlpath", ["none"]) == ["none"]
