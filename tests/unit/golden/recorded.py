# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole fleets on AWS as 0.1.0 left them: definition, store, boto3's answers, and the results of the next run.

The answers were recorded from moto, which makes new ids each time. Tests replay them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

from ansible_collections.immutable.infra.tests.support.aws import seeds, server
from ansible_collections.immutable.infra.tests.support.aws.fleet import Shop
from ansible_collections.immutable.infra.tests.support.aws.refreshes import Refreshes
from ansible_collections.immutable.infra.tests.unit.golden import adapter, adapter_store, aws_replay, plain, produced

TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "fleet": ("fleet", {}),
    "check": ("fleet", {"check_mode": True}),
    "info": ("fleet_info", {}),
    "rollback": ("fleet", {"rollback": True}),
}
QUIET = ("fleet", "check", "info")


@contextmanager
def cloud() -> Iterator[server.Cloud]:
    with server.cloud() as made, mock.patch.dict(os.environ, made.environment()), produced.steady():
        server.forget_clients()
        yield made
        server.forget_clients()


def fleet_on_ec2(folder: Path) -> Any:
    """Create a fleet with data volumes, swap it once and protect one host."""
    with cloud() as made:
        shop = Shop(
            made,
            folder,
            authorized_key=produced.AUTHORIZED_KEY,
            settings={"color": "red"},
            secrets={"db": {"ssm": "/shop/db"}},
        )
        shop.store.write_blob("keys/secret", produced.KEY)
        made.boto("ssm").put_parameter(Name="/shop/db", Value="hunter2hunter2", Type="SecureString")
        shop.document["data"] = [{"name": "orders", "size": "10G", "mount": "/srv/orders"}]
        shop.document["fleet"]["size"] = 2
        for version in ("1.0.0", "2.0.0"):
            shop.image(version)
            shop.run()
        options = {"target": "prod", "hosts": ["shop-prod-0"], "mark": "protected", "reason": "a long job"}
        adapter.run_action("host_mark", folder, **options)
        return snapshot(folder)


def group_on_ec2(folder: Path, back: bool = False) -> Any:
    """Create an Auto Scaling group and refresh it once.

    ``back``: afterwards, the group is set back to the previous version.
    """
    with cloud() as made:
        refreshes = Refreshes(made, "shop")
        made.proxy.layers.insert(0, refreshes)
        where, amis = seeds.network(made), [seeds.image(made, "old"), seeds.image(made, "new")]
        launch = {"LaunchTemplateId": seeds.template(made, amis[0], where), "Version": "1"}
        sizes = {"MinSize": 0, "MaxSize": 4, "DesiredCapacity": 2}
        made.boto("autoscaling").create_auto_scaling_group(
            AutoScalingGroupName="shop", VPCZoneIdentifier=where.subnets[0], LaunchTemplate=launch, **sizes
        )
        produced.definition_in(folder, "group")
        store = produced.store_in(folder)
        for number, ami in enumerate(amis, 1):
            digest, artifact = f"sha256:{str(number) * 64}", {"ami": ami, "region": server.REGION, "copies": {}}
            version = {"version": f"{number}.0", "created": f"2021-01-0{number}T00:00:00+00:00"}
            record = {**plain.golden("given/images")["aws"], "digest": digest, "artifact": artifact, **version}
            record["name"] = f"shop-{number}.0-{str(number) * 12}"
            store.write(f"images/{digest[7:]}/{record['build']}/record.json", record)
            adapter.promoted(store, record, "prod")
        for _run in range(6):
            adapter.run_action("fleet", folder, target="prod", wait=False)
        assert [each.status for each in refreshes.found] == ["Successful"]
        if not back:
            return snapshot(folder)
        refreshes.found.clear()
        launch["Version"] = "1"
        made.boto("autoscaling").update_auto_scaling_group(AutoScalingGroupName="shop", LaunchTemplate=launch)
        return snapshot(folder, ("check",))


def snapshot(folder: Path, tasks: Sequence[str] = QUIET) -> Any:
    calls: list[dict[str, Any]] = []
    with aws_replay.recording(calls):
        for name, more in map(TASKS.__getitem__, tasks):
            told = adapter.run_action(name, folder, target="prod", **more)
            assert "failed" not in told, told
    unique = {plain.as_text(plain.plain([each["call"], each["asked"]])): each for each in calls}
    store = adapter_store.store_at(str(folder / "store"))
    documents = {key: store.read(key)[0] for key in store.list("") if key.endswith(".json")}
    kept = {"definition": files_in(folder), "documents": documents, "calls": [unique[each] for each in sorted(unique)]}
    found = plain.plain(kept, {str(folder): "<folder>", "2026-01-01T00:00:00": "2021-01-01T00:00:00"}, "fixed")
    again = folder / "again"
    again.mkdir()
    return {**found, "results": replayed(found, again, tasks=tasks)["results"]}


def files_in(folder: Path) -> dict[str, list[str]]:
    files = [each for each in folder.iterdir() if each.is_file()]
    return {each.name: each.read_text(encoding="utf-8").splitlines() for each in files if each.suffix == ".yml"}


def restored(kept: Mapping[str, Any], folder: Path) -> Any:
    """Restore a definition with its store. Return the store."""
    for name, lines in kept["definition"].items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    store = adapter_store.store_at(str(folder / "store"))
    store.write_blob("keys/secret", produced.KEY)
    for key, document in kept["documents"].items():
        store.write(key, document)
    return store


def replayed(
    kept: Mapping[str, Any],
    folder: Path,
    changes: Mapping[str, Any] | None = None,
    tasks: Sequence[str] = QUIET,
) -> dict[str, Any]:
    """Run tasks on a recorded account. Return their results, changing calls and the documents afterwards."""
    store = restored(kept, folder)
    account, results = aws_replay.Account(kept["calls"], changes), {}
    with aws_replay.answering(account), produced.steady(), suppress(aws_replay.Stopped):
        for task in tasks:
            name, more = TASKS[task]
            results[task] = adapter.run_action(name, folder, target="prod", **more)
    documents = {key: store.read(key)[0] for key in store.list("") if key.endswith(".json")}
    return {
        "results": plain.plain(results, {str(folder): "<folder>"}),
        "changing": account.changing,
        "unknown": account.unknown,
        "documents": plain.plain(documents, {str(folder): "<folder>"}),
    }


ENTRIES: dict[str, Callable[[Path], Any]] = {
    "fleets/ec2": fleet_on_ec2,
    "fleets/group": group_on_ec2,
    "fleets/group_before": lambda folder: group_on_ec2(folder, back=True),
}
