# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a verification asks its provider to launch."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError, VerifyError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import silent
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import (
    Base,
    Definition,
    FleetSpec,
    Health,
    HttpProbe,
    Provision,
    SecretRef,
    Target,
    TcpProbe,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import FLEET, VERIFY
from ansible_collections.immutable.infra.plugins.plugin_utils._verification.verify import Candidate, Verification

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen")


class Recorder:
    """A provider that has nothing, notes what is asked for and launches none of it."""

    def __init__(self):
        self.requests = []
        self.compute = self.volumes = self
        self.clock = SimpleNamespace(now=lambda: 0.0)

    def list(self, fleet):
        return []

    create = list

    def launch(self, requests):
        self.requests = requests
        raise ProviderError("enough")


def verification(provider):
    base = Base("debian", "bookworm")
    health = Health(http=HttpProbe(8080), tcp=TcpProbe(5432))
    target = Target("local", "simulated", FleetSpec(), health, base, secrets={"db": SecretRef("ssm", "/shop/db")})
    definition = Definition(
        Path("/d/immutable.yml"),
        "shop",
        "1",
        Provision("p.yml"),
        "verify.yml",
        (),
        (),
        "restricted",
        {"local": target},
        base,
    )
    image = Image(
        "sha256:" + "a" * 64, "qemu-x86_64", "shop", "1", "2026-01-01T00:00:00+00:00", {"path": "disk.qcow2"}, {}, {}
    )
    candidate = Candidate(image, definition, target, {}, {}, ("ssh-ed25519 PRODUCTION",))
    return Verification(candidate, provider, None, SimpleNamespace(check=lambda: None), silent)


def test_both_instances_can_be_reached_at_every_probed_port_and_only_one_lets_the_one_time_key_in():
    provider = Recorder()
    with pytest.raises(ProviderError, match="enough"):
        verification(provider).run(60.0)
    assert [request.ports for request in provider.requests] == [(22, 8080, 5432)] * 2
    assert [request.secret_refs for request in provider.requests] == [{"db": "/shop/db"}] * 2
    assert [request.purpose for request in provider.requests] == [VERIFY, FLEET]
    assert [request.authorized_keys == ("ssh-ed25519 PRODUCTION",) for request in provider.requests] == [False, True]


class Lingering:
    """A provider whose removed machines take a minute to be gone, or for ever, and have their volumes until then."""

    def __init__(self, minutes=1):
        self.machines, self.disks = ["m0", "m1"], ["v0"]
        self.left, self.calls, self.time = minutes, [], 0.0
        self.compute = SimpleNamespace(
            list=self._instances, power_off=self._note("power_off"), remove=self._note("remove")
        )
        self.volumes = SimpleNamespace(
            list=lambda fleet: [SimpleNamespace(id=disk) for disk in self.disks], remove=self._remove_disks
        )
        self.clock = SimpleNamespace(now=lambda: self.time, wait=self._wait)

    def _instances(self, fleet):
        return [SimpleNamespace(id=machine) for machine in self.machines]

    def _note(self, call):
        return lambda ids: self.calls.append((call, list(ids)))

    def _wait(self, seconds):
        self.time += min(seconds, 60.0)
        self.left -= 1
        if self.left == 0:
            self.machines = []

    def _remove_disks(self, ids):
        assert not self.machines, "a volume in use"
        self.calls.append(("remove volumes", list(ids)))
        self.disks = []


def test_test_machines_are_gone_before_their_volumes_and_before_it_returns():
    provider = Lingering()
    verification(provider).clear()
    assert provider.calls == [("power_off", ["m0", "m1"]), ("remove", ["m0", "m1"]), ("remove volumes", ["v0"])]
    verification(provider).clear()
    assert len(provider.calls) == 3, "where nothing is left, nothing is asked for"


def test_test_machines_that_do_not_go_are_named():
    with pytest.raises(VerifyError, match="do not go away: m0, m1 "):
        verification(Lingering(minutes=-1)).clear()
