# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The instances that a verification launches and removes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError, VerifyError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import silent
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.launch import machine_settings
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import (
    Base,
    Definition,
    FleetSpec,
    Machine,
    Provision,
    SecretRef,
    Target,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe, TcpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import (
    FLEET,
    VERIFY,
    Evidence,
    Instance,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ended_instance import EndedInstance
from ansible_collections.immutable.infra.plugins.plugin_utils._verification.verify import Candidate, Verification

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen")


class Recorder:
    """An empty provider that records the requests and launches nothing."""

    def __init__(self):
        self.requests = []
        self.compute = self.volumes = self
        self.clock = SimpleNamespace(now=lambda: 0.0)

    def list(self, fleet):
        return []

    create = list

    def check_machine(self, machine):
        pass

    def launch(self, requests):
        self.requests = requests
        raise ProviderError("not launched")


def verification(provider, secrets=None, report=silent):
    base = Base("debian", "bookworm")
    health = Health(http=HttpProbe(8080), tcp=TcpProbe(5432))
    target = Target(
        name="local",
        provider="simulated",
        fleet=FleetSpec(),
        health=health,
        base=base,
        secrets={"db": SecretRef("ssm", "/shop/db")},
    )
    definition = Definition(
        path=Path("/d/immutable.yml"),
        service="shop",
        version="1",
        provision=Provision("p.yml"),
        verify="verify.yml",
        data=(),
        writable=(),
        shell="restricted",
        targets={"local": target},
        base=base,
    )
    image = Image(
        digest="sha256:" + "a" * 64,
        build="qemu-x86_64",
        service="shop",
        version="1",
        created="2026-01-01T00:00:00+00:00",
        artifact={"path": "disk.qcow2"},
        base={},
        inputs={},
    )
    candidate = Candidate(
        image=image,
        definition=definition,
        target=target,
        settings={},
        secrets=secrets or {},
        authorized_keys=("ssh-ed25519 PRODUCTION",),
    )
    return Verification(candidate, provider, playbook=None, guard=SimpleNamespace(check=lambda: None), report=report)


def test_both_instances_open_every_probed_port_and_one_accepts_the_temporary_key():
    provider = Recorder()
    with pytest.raises(ProviderError, match="not launched"):
        verification(provider).run(60.0)
    assert [request.ports for request in provider.requests] == [(22, 8080, 5432)] * 2
    assert [request.secret_refs for request in provider.requests] == [{"db": "/shop/db"}] * 2
    assert [request.purpose for request in provider.requests] == [VERIFY, FLEET]
    assert [request.authorized_keys == ("ssh-ed25519 PRODUCTION",) for request in provider.requests] == [False, True]


def test_instances_without_an_ssh_server_get_no_port_and_no_key_for_it(monkeypatch):
    provider = Recorder()
    tested = verification(provider)
    monkeypatch.setattr(
        tested, "_candidate", replace(tested._candidate, target=replace(tested._candidate.target, provider="container"))
    )
    with pytest.raises(ProviderError, match="not launched"):
        tested.run(60.0)
    assert [request.ports for request in provider.requests] == [(8080, 5432)] * 2
    assert provider.requests[0].authorized_keys == ()


class Lingering:
    """A provider whose removed machines need a minute or forever to disappear, and keep their volumes until then.

    Args:
        awaits_removal: whether only another call removes them.
    """

    def __init__(self, minutes=1, awaits_removal=False):
        self.awaits_removal = awaits_removal
        self.machines, self.disks = ["m0", "m1"], ["v0"]
        self.minutes, self.calls, self.time = minutes, [], 0.0
        self.compute = SimpleNamespace(
            list=self._instances, power_off=self._record("power_off"), remove=self._record("remove")
        )
        self.volumes = SimpleNamespace(
            list=lambda fleet: [SimpleNamespace(id=disk) for disk in self.disks], remove=self._remove_disks
        )
        self.clock = SimpleNamespace(now=lambda: self.time, wait=self._wait)

    def _instances(self, fleet):
        down = self.awaits_removal and bool(self.calls)
        return [SimpleNamespace(id=machine, awaits_removal=down) for machine in self.machines]

    def _record(self, call):
        return lambda ids: self.calls.append((call, list(ids)))

    def _wait(self, seconds):
        self.time += min(seconds, 60.0)
        self.minutes -= 1
        if self.minutes == 0:
            self.machines = []

    def _remove_disks(self, ids):
        assert not self.machines, "a volume in use"
        self.calls.append(("remove volumes", list(ids)))
        self.disks = []


def test_machines_disappear_before_their_volumes_are_removed():
    provider = Lingering()
    verification(provider).clear()
    assert provider.calls == [("power_off", ["m0", "m1"]), ("remove", ["m0", "m1"]), ("remove volumes", ["v0"])]
    verification(provider).clear()
    assert len(provider.calls) == 3, "there is no call if nothing is left"


def test_another_call_completes_a_removal():
    provider = Lingering(awaits_removal=True)
    verification(provider).clear()
    removals = [("remove", ["m0", "m1"])] * 2
    assert provider.calls == [("power_off", ["m0", "m1"]), *removals, ("remove volumes", ["v0"])]


def test_machines_that_do_not_disappear_are_reported():
    with pytest.raises(VerifyError, match="removed test instances still exist: m0, m1 "):
        verification(Lingering(minutes=-1)).clear()


def answering(probe, proofs=1000, ended=()):
    """A provider whose instances prove their image at once. ``proofs``: how often a list shows that."""
    instances, clock = [], SimpleNamespace(time=0.0)

    def listed(_fleet):
        nonlocal proofs
        proofs -= bool(instances)
        return list(instances) if proofs >= 0 else [replace(each, evidence=None) for each in instances]

    def launch(requests):
        instances[:] = [
            Instance(
                id=f"i{request.slot}",
                fleet=request.fleet,
                slot=request.slot,
                image=request.image,
                launch="l",
                state="running",
                purpose=request.purpose,
                created=0.0,
                nonce=request.nonce,
                evidence=Evidence(request.image, request.nonce, "", "off"),
            )
            for request in requests
        ]
        return instances

    def wait(seconds):
        clock.time += seconds

    return SimpleNamespace(
        name="simulated",
        compute=SimpleNamespace(
            list=listed,
            launch=launch,
            power_off=lambda _ids: None,
            remove=lambda _ids: instances.clear(),
            console=lambda _id: "",
            ended=lambda _fleet: ended,
            check_machine=lambda _machine: None,
        ),
        volumes=SimpleNamespace(list=lambda _fleet: [], create=lambda _requests: []),
        clock=SimpleNamespace(now=lambda: clock.time, wait=wait),
        probe=lambda asked: {each.id: probe for each in asked},
    )


def test_a_failed_probe_is_named_without_the_secrets_of_the_service():
    """Both instances start and prove their image. Their service answers with an error that contains its secret."""
    provider = answering("GET / answered 500 with \x1b[31mhunter22hunter22")
    with pytest.raises(VerifyError) as caught:
        verification(provider, {"db": "hunter22hunter22"}).run(60.0)
    assert "not every test instance passed its probes in time (GET / answered 500 with " in caught.value.message
    assert "hunter22" not in caught.value.message and "\x1b" not in caught.value.message


def test_a_console_that_cannot_be_read_hides_no_failure():
    """The console of a container can be longer than an engine may print."""
    provider = answering("GET / answered 500")

    def refuse(_id):
        raise ProviderError("docker printed more than 16 MiB, so it was ended")

    provider.compute.console = refuse
    with pytest.raises(VerifyError, match="GET / answered 500.*its console could not be read: docker printed more"):
        verification(provider).run(60.0)


def test_an_instance_that_boots_again_with_its_volumes_must_prove_its_image_again():
    provider = answering(True, proofs=1)
    with pytest.raises(VerifyError, match=r"passed its probes in time \(it has not sealed itself yet\)"):
        verification(provider).run(60.0)


def test_an_instance_that_died_at_launch_fails_the_test_with_the_provider_s_reason():
    """It is not waited for until the deadline of the boot."""
    ended = (EndedInstance("i1", "shop", 1, "no rights on the key"), EndedInstance("earlier", "shop", 0, "old"))
    provider = answering(True, proofs=0, ended=ended)
    with pytest.raises(VerifyError, match=r"a test instance ended before it sealed itself \(i1: no rights on the key"):
        verification(provider).run(60.0)
    assert provider.clock.now() == 0.0


@pytest.mark.parametrize(
    ("probe", "proofs", "most", "message"),
    [
        ("no answer", 1000, 250.0, r"passed its probes within 240 s \(health.deadline for each of 2\) \(no answer\)"),
        (True, 0, 610.0, r"sealed itself within 600 s \(health.boot_deadline for each of 2\)"),
    ],
    ids=["unhealthy", "not sealed"],
)
def test_an_image_that_a_swap_would_reject_does_not_use_the_whole_time(probe, proofs, most, message):
    provider = answering(probe, proofs)
    with pytest.raises(VerifyError, match=f"not every test instance {message}"):
        verification(provider).run(1800.0)
    assert provider.clock.now() <= most


def test_why_a_verification_waits_is_reported_once_without_the_secrets_of_the_service():
    said = []
    with pytest.raises(VerifyError):
        verification(answering("refused by hunter22hunter22"), {"db": "hunter22hunter22"}, said.append).run(60.0)
    assert [line for line in said if "yet" in line] == [
        "shop-1-aaaaaaaaaaaa has not passed its probes yet: refused by ********"
    ]


def test_a_service_that_failed_is_named_though_the_boot_went_on():
    provider = answering("no answer")
    failed = 'IMMUTABLE-SERVICE {"unit":"shop.service","reason":"no such file"}'
    provider.compute.console = lambda _id: "\n".join([failed, *(f"Started {n}" for n in range(50))])
    with pytest.raises(VerifyError) as caught:
        verification(provider).run(60.0)
    assert caught.value.message.endswith(f"Last lines of its console: {failed} / Started 48 / Started 49")


def test_the_machine_of_a_group_fills_what_the_target_leaves_open() -> None:
    target = Target(
        name="prod",
        provider="aws",
        fleet=FleetSpec(engine="autoscaling"),
        health=Health(tcp=TcpProbe(80)),
        base=Base("ami", "ami-1"),
        machine=Machine(type="t3.large"),
    )
    group = {"type": "t3.small", "instance_profile": "shop", "security_groups": ["sg-1"], "metadata_hop_limit": 2}
    candidate = Candidate(image=None, definition=None, target=target, settings={}, secrets={}, group_machine=group)
    machine = candidate.machine
    assert (machine["type"], machine["instance_profile"], machine["security_groups"]) == ("t3.large", "shop", ["sg-1"])
    assert machine["metadata_hop_limit"] == 2
    assert replace(candidate, group_machine={}).machine == machine_settings(target)
