# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The playbooks as an AWX workflow: real ansible-runner, a store in S3, EC2 by moto, an empty disk for each job."""

from __future__ import annotations

import gzip
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.amis import find_ami
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.registry import resolve_base
from ansible_collections.immutable.infra.plugins.plugin_utils._definition import load as loading
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.digest import (
    bake_inputs,
    digest_of,
    verify_digest,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import Image
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.registry import open_images
from ansible_collections.immutable.infra.plugins.plugin_utils._store.s3 import S3Store
from ansible_collections.immutable.infra.tests.support.aws import seeds
from ansible_collections.immutable.infra.tests.support.aws.answers import Answer, Dropped
from ansible_collections.immutable.infra.tests.support.aws.bucket import LOCATION
from ansible_collections.immutable.infra.tests.support.aws.calls import Call
from ansible_collections.immutable.infra.tests.support.aws.faults import after
from ansible_collections.immutable.infra.tests.support.aws.jobs import JobResult, Workflow
from ansible_collections.immutable.infra.tests.support.aws.proxy import Proceed
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, SECRET, Cloud
from ansible_collections.immutable.infra.tests.support.waiting import PATIENCE

COLLECTIONS = Path(loading.__file__).parents[6]
PLAYBOOKS = sorted(path.stem for path in (Path(loading.__file__).parents[3] / "playbooks").glob("*.yml"))
PASSWORD = "planted-password-0123456789"
LARGEST = 700_000  # bytes of a result that AWX keeps
SIZE = 2


def definition(ami: str, version: str, where: seeds.Network, balancer: seeds.Balancer, **fleet: Any) -> dict[str, Any]:
    target = {
        "provider": "aws",
        "region": REGION,
        "network": {"subnets": dict(zip(where.zones, where.subnets, strict=True)), "security_groups": [where.group]},
        "traffic": {"target_groups": [balancer.groups[0]]},
        "probe": "balancer",
        "settings": {"shop_mail_from": "shop@example.com"},
        "secrets": {"shop_db_password": {"ssm": "/shop/db-password"}},
        "machine": {"instance_profile": "shop-host"},
    }
    return {
        "schema": 1,
        "service": "shop",
        "version": version,
        "image": {"base": {"ami": ami, "python": "3.11"}, "provision": {"playbook": "site.yml"}},
        "data": [{"name": "uploads", "size": "1G", "mount": "/var/lib/shop"}],
        "health": {"http": {"port": 8080}},
        "fleet": {"size": SIZE, "drain": {"timeout": "1s"}, **fleet},
        "targets": {"prod": target},
    }


class Shop:
    """An AWS account, an AWX project with the definition of the service, and the workflow."""

    def __init__(self, cloud: Cloud, store: S3Store, folder: Path) -> None:
        self.cloud, self.store, self.project = cloud, store, folder / "project"
        self.report = folder / "report.html"  # outside of the containers of the jobs
        self._where = seeds.network(cloud)
        self._balancer = seeds.balancer(cloud, self._where)
        self._base = seeds.image(cloud, "debian-12")
        cloud.boto("ssm").put_parameter(Name="/shop/db-password", Value=PASSWORD, Type="SecureString")
        cloud.boto("iam").create_instance_profile(InstanceProfileName="shop-host")
        self.project.mkdir()
        (self.project / "site.yml").write_text("[]\n", encoding="utf-8")
        for name in PLAYBOOKS:
            (self.project / f"{name}.yml").write_text(
                json.dumps([{"import_playbook": f"immutable.infra.{name}"}]), encoding="utf-8"
            )
        self.write("1.0")
        variables = {
            "immutable_definition": "immutable.yml",
            "immutable_target": "prod",
            "immutable_store": LOCATION,
            "immutable_channel": "prod",
        }
        credentials = {
            **cloud.environment(),
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "PATH": os.environ["PATH"],
            "ANSIBLE_TIMEOUT": "1",
        }
        self.awx = Workflow(folder, self.project, variables, credentials)

    def write(self, version: str, **fleet: Any) -> None:
        text = yaml.safe_dump(definition(self._base, version, self._where, self._balancer, **fleet))
        (self.project / "immutable.yml").write_text(text, encoding="utf-8")

    def baked(self, verified: bool = True) -> str:
        """Record an image of the current definition as a bake and a verification would. Returns its AMI."""
        now = datetime.now(timezone.utc).isoformat()
        current = loading.load_definition(self.project)
        target = current.target("prod")
        base = resolve_base(target, self.store, current.folder)
        assert base is not None
        ami = seeds.image(self.cloud, f"shop-{current.version}")
        found = find_ami(Clients(target.aws).ec2, ami)
        assert found is not None
        account = Clients(target.aws).account_id
        artifact = {
            "ami": ami,
            "region": REGION,
            "account": account,
            "name": found["Name"],
            "architecture": "x86_64",
            "root_device": "/dev/xvda",
        }
        inputs = bake_inputs(current, target, base)
        image = Image(
            digest=digest_of(inputs),
            build=open_images(target).build("x86_64"),
            service="shop",
            version=current.version,
            created=now,
            artifact={**artifact, "snapshots": [], "copies": {}},
            base=base,
            inputs=inputs,
            shell=current.shell,
            verified={"at": now, "verify": verify_digest(current, target)} if verified else None,
        )
        Catalogue(self.store).add(image)
        self.store.write_blob(f"{image.key}/manifest.json.gz", gzip.compress(b'{"version": 1, "files": {}}'))
        return ami

    def check_report(self) -> None:
        """The report of a job has everything of the release, and no secret."""
        page = self.report.read_text(encoding="utf-8")
        for part in ("Nothing is due.", "2 of 2 in service", "promoted", "canary", "slot 1"):
            assert part in page, part
        assert page.count('data-swap="swap"') == 2 and 'data-swap="prediction"' not in page
        assert not any(secret in page for secret in (PASSWORD, SECRET, "PRIVATE KEY"))

    def instances(self) -> list[str]:
        found = self.cloud.boto("ec2").describe_instances()["Reservations"]
        return [each["InstanceId"] for group in found for each in group["Instances"]]

    def volumes(self) -> list[str]:
        """Return the data volumes. They outlive every job."""
        found = self.cloud.boto("ec2").describe_volumes(Filters=[{"Name": "tag-key", "Values": ["immutable:volume"]}])[
            "Volumes"
        ]
        return sorted(each["VolumeId"] for each in found)

    def running(self) -> list[str]:
        """Return the AMIs of the running instances."""
        found = self.cloud.boto("ec2").describe_instances(
            Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        )["Reservations"]
        return [each["ImageId"] for group in found for each in group["Instances"]]


@pytest.fixture
def shop(cloud: Cloud, bucket: S3Store, tmp_path: Path) -> Shop:
    return Shop(cloud, bucket, tmp_path)


def successful(job: JobResult) -> JobResult:
    assert job.status == "successful", job.output
    for secret in (PASSWORD, SECRET, "PRIVATE KEY"):
        assert secret not in job.written
    assert all(len(json.dumps(each)) < LARGEST for each in job.events)
    return job


class Cancel:
    """Cancels the job while a call to AWS is in progress, and drops the answer of that call."""

    def __init__(self) -> None:
        self.called, self.over = threading.Event(), threading.Event()

    def __call__(self, call: Call, proceed: Proceed) -> Answer:
        self.called.set()
        self.over.wait(PATIENCE)
        raise Dropped


def sliced(shop: Shop, playbook: str, **survey: Any) -> list[JobResult]:
    """Run two slices of one job at the same time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda _slice: successful(shop.awx.run(playbook, **survey)), range(2)))


def test_a_release_job_by_job(shop: Shop) -> None:
    awx, first = shop.awx, shop.baked()
    slices = sliced(shop, "release", immutable_lock_timeout="1h")
    assert sorted(each.artifacts["immutable_swap"]["changed"] for each in slices) == [False, True]
    assert shop.running() == [first] * SIZE
    status = successful(awx.run("status"))
    result = status.artifacts["immutable_status"]
    assert (result["serving"], result["swap"]["status"]) == (SIZE, "done")
    assert "shop-prod: 2 of 2 in service; all run shop-1.0-" in status.output

    shop.write("2.0", strategy="canary", canary=[{"instances": 1, "approval": True}])
    second, volumes = shop.baked(), shop.volumes()
    assert not successful(awx.run("bake")).artifacts["immutable_bake"]["changed"]
    assert successful(awx.run("verify")).artifacts["immutable_verify"]["verified"]
    assert successful(awx.run("promote")).artifacts["immutable_promote"]["changed"]
    paused = successful(awx.run("swap", immutable_wait=False))
    result = paused.artifacts["immutable_swap"]
    assert "! To approve and continue" in paused.output
    assert result["paused"] and result["approval"] and sorted(shop.running()) == sorted([first, second])
    cancel = Cancel()
    shop.cloud.fault(cancel, action="AttachVolume", times=0)  # and each retry
    cancelled = awx.run("swap", cancelled=cancel.called.is_set, immutable_approve=True)
    cancel.over.set()
    shop.cloud.faults.clear()
    assert (cancelled.status, cancelled.artifacts) == ("canceled", {})
    assert successful(awx.run("status")).artifacts["immutable_status"]["swap"]["status"] == "open"
    result = successful(awx.run("swap")).artifacts["immutable_swap"]
    assert (result["changed"], result["paused"]) == (True, None)
    assert shop.running() == [second] * SIZE and shop.volumes() == volumes
    report = successful(awx.run("report", immutable_report=str(shop.report)))
    assert report.artifacts["immutable_report_written"]["due"] == []
    shop.check_report()

    result = successful(awx.run("rollback")).artifacts["immutable_rollback"]
    assert result["changed"] and result["paused"]
    assert successful(awx.run("swap", immutable_approve=True)).artifacts["immutable_swap"]["paused"] is None
    assert shop.running() == [first] * SIZE and shop.volumes() == volumes
    result = successful(awx.run("sweep", immutable_sweep_state="absent", immutable_sweep_older_than="0s")).artifacts[
        "immutable_sweep"
    ]
    assert (result["orphans"], result["removed"]) == ([], [])
    pruned = successful(awx.run("prune"))
    assert (len(pruned.artifacts["immutable_prune"]["kept"]), pruned.artifacts["immutable_prune"]["removed"]) == (2, [])
    assert "0 images removed, 2 kept" in pruned.output
    removed = successful(awx.run("remove", immutable_remove_fleet="shop-prod")).artifacts["immutable_remove"]
    assert removed == {"changed": True, "fleet": "shop-prod"}
    assert shop.running() == [] and shop.volumes() == volumes


def test_jobs_that_need_a_guest_reach_the_point_where_it_must_answer(shop: Shop) -> None:
    """A host of moto has only a console: its verification fails, and an attestation cannot connect to it."""
    awx = shop.awx
    shop.baked(verified=False)
    shop.cloud.set(dead=frozenset({"*"}))  # its console shows no seal
    shop.cloud.fault(after(lambda: [shop.cloud.lose(each) for each in shop.instances()]), action="GetConsoleOutput")
    failed = awx.run("verify")
    assert (failed.status, failed.artifacts, shop.running()) == ("failed", {}, [])
    assert "a test instance ended before it sealed itself" in failed.output and PASSWORD not in failed.written
    assert "The image stays unverified" in failed.output and '"consoles"' not in failed.output

    shop.cloud.set(dead=frozenset())
    shop.baked()
    successful(awx.run("release"))
    closed = awx.run("attest")
    assert (closed.status, closed.artifacts) == ("failed", {})
    assert "PRIVATE KEY" not in closed.written
    assert sorted(each["event_data"]["host"] for each in closed.events if each["event"] == "runner_on_unreachable") == [
        "shop-prod-0",
        "shop-prod-1",
    ]
