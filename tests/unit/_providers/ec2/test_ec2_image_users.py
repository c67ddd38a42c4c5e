# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What uses an AMI, and its removal, in each of its regions."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Clients
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.image_users import (
    image_users,
    remove_image,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.images import Ec2Images
from ansible_collections.immutable.infra.tests.support.aws import faults, seeds
from ansible_collections.immutable.infra.tests.support.aws.server import REGION, Cloud
from botocore.stub import Stubber

OTHER, STORE = "us-east-1", "0123456789abcdef"
TAGS = {"immutable:store": STORE}


@pytest.fixture
def clients(cloud: Cloud) -> Clients:
    return Clients(cloud.account())


def snapshots(cloud: Cloud, ami: str, region: str = REGION) -> list[str]:
    image = cloud.boto("ec2", region).describe_images(ImageIds=[ami])["Images"][0]
    return [disk["Ebs"]["SnapshotId"] for disk in image["BlockDeviceMappings"]]


def artifact(cloud: Cloud, name: str = "shop-1", copied: bool = False) -> dict[str, Any]:
    ami = seeds.image(cloud, name, TAGS)
    copies = {}
    if copied:
        copy = seeds.image(cloud, name, TAGS, region=OTHER)
        copies[OTHER] = {"ami": copy, "snapshots": snapshots(cloud, copy, OTHER)}
    return {"ami": ami, "region": REGION, "name": name, "snapshots": snapshots(cloud, ami), "copies": copies}


def left(cloud: Cloud, region: str = REGION) -> tuple[list[str], list[str]]:
    ec2 = cloud.boto("ec2", region)
    images = ec2.describe_images(Owners=["self"])["Images"]
    return [each["ImageId"] for each in images], [
        each["SnapshotId"] for each in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    ]


def test_an_image_that_nothing_refers_to_has_no_user(cloud: Cloud, clients: Clients) -> None:
    assert image_users(clients, [artifact(cloud), artifact(cloud, "shop-2", copied=True)]) == [[], []]


def test_instances_count_in_every_state_but_terminated_and_in_every_region(cloud: Cloud, clients: Clients) -> None:
    first, second = artifact(cloud, copied=True), artifact(cloud, "shop-2")
    there, here = cloud.boto("ec2", OTHER), cloud.boto("ec2")
    stopped = there.run_instances(ImageId=first["copies"][OTHER]["ami"], MinCount=1, MaxCount=1)["Instances"][0][
        "InstanceId"
    ]
    there.stop_instances(InstanceIds=[stopped])
    ended = here.run_instances(ImageId=second["ami"], MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    here.terminate_instances(InstanceIds=[ended])
    assert image_users(clients, [first, second]) == [
        [f"instance {stopped} runs it ({first['copies'][OTHER]['ami']} in {OTHER})"],
        [],
    ]


def test_all_template_versions_count_including_those_that_use_a_parameter(cloud: Cloud, clients: Clients) -> None:
    first, second, third = (artifact(cloud, f"shop-{number}") for number in (1, 2, 3))
    ec2 = cloud.boto("ec2")
    template = seeds.template(cloud, first["ami"], seeds.network(cloud))
    cloud.boto("ssm").put_parameter(Name="/shop/ami", Value=second["ami"], Type="String")
    for ami in ("ami-0123456789abcdef0", "resolve:ssm:/shop/ami", "resolve:ssm:/gone"):
        ec2.create_launch_template_version(LaunchTemplateId=template, LaunchTemplateData={"ImageId": ami})
    assert image_users(clients, [first, second, third]) == [
        [f"version 1 of the launch template shop launches it ({first['ami']} in {REGION})"],
        [f"version 3 of the launch template shop launches it by the parameter /shop/ami ({second['ami']} in {REGION})"],
        [],
    ]


def test_a_parameter_counts_by_its_arn_too_and_parameters_of_aws_are_not_read(cloud: Cloud, clients: Clients) -> None:
    """Pruning needs no permission for parameters that cannot contain an image of this project."""
    first = artifact(cloud)
    arn = f"arn:aws:ssm:{REGION}:210987654321:parameter/shop/ami"
    template = seeds.template(cloud, "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023", seeds.network(cloud))
    for ami in (f"resolve:ssm:{arn}:3", f"resolve:ssm:arn:aws:ssm:{REGION}::parameter/aws/service/debian/12"):
        cloud.boto("ec2").create_launch_template_version(LaunchTemplateId=template, LaunchTemplateData={"ImageId": ami})
    parameter = {"Name": "/shop/ami", "ARN": arn, "Selector": ":3", "Value": first["ami"], "Version": 3}
    with Stubber(clients.client("ssm")) as stub:  # moto knows no parameter of another account
        stub.add_response("get_parameters", {"Parameters": [parameter]}, {"Names": [f"{arn}:3"]})
        stub.add_response("get_parameters_by_path", {"Parameters": []})
        assert image_users(clients, [first]) == [
            [
                "version 2 of the launch template shop launches it by the parameter /shop/ami "
                f"({first['ami']} in {REGION})"
            ]
        ]


def test_published_parameters_count_in_each_region(cloud: Cloud, clients: Clients) -> None:
    """After a forced bake, the published AMI is on no record until the new one is promoted."""
    first = artifact(cloud, copied=True)
    copy = first["copies"][OTHER]["ami"]
    for number in range(11):  # more than a page
        cloud.boto("ssm", OTHER).put_parameter(
            Name=f"/immutable/other/{number}/ami", Value="ami-0123456789abcdef0", Type="String"
        )
    cloud.boto("ssm", OTHER).put_parameter(Name="/immutable/shop/prod/ami", Value=copy, Type="String")
    assert image_users(clients, [first]) == [[f"the parameter /immutable/shop/prod/ami names it ({copy} in {OTHER})"]]


def test_launch_configurations_count(cloud: Cloud, clients: Clients) -> None:
    first, second = artifact(cloud), artifact(cloud, "shop-2")
    cloud.boto("autoscaling").create_launch_configuration(
        LaunchConfigurationName="old", ImageId=first["ami"], InstanceType="t3.micro"
    )
    assert image_users(clients, [first, second]) == [
        [f"the launch configuration old launches it ({first['ami']} in {REGION})"],
        [],
    ]


def test_accounts_that_share_an_image_count_unless_excluded(cloud: Cloud, clients: Clients) -> None:
    first = artifact(cloud)
    cloud.boto("ec2").modify_image_attribute(
        ImageId=first["ami"], LaunchPermission={"Add": [{"UserId": "210987654321"}]}
    )
    assert image_users(clients, [first]) == [[f"it is shared with 210987654321 ({first['ami']} in {REGION})"]]
    assert image_users(clients, [first], shared=False) == [[]]


def test_many_images_need_no_more_calls_than_one(cloud: Cloud, clients: Clients) -> None:
    many = [artifact(cloud, f"shop-{number}") for number in range(30)]
    cloud.proxy.forget()
    image_users(clients, many, shared=False)
    assert cloud.count() == 5 and cloud.count(changing=True) == 0


def test_an_image_is_removed_from_all_regions_with_its_snapshots(cloud: Cloud, clients: Clients) -> None:
    removed_one, stays = artifact(cloud, copied=True), artifact(cloud, "shop-2")
    remove_image(clients, removed_one, STORE)
    assert left(cloud) == ([stays["ami"]], stays["snapshots"]) and left(cloud, OTHER) == ([], [])
    remove_image(clients, removed_one, STORE)  # it is already removed


@pytest.mark.parametrize("at", range(1, 5))
def test_the_next_run_completes_an_interrupted_removal(cloud: Cloud, clients: Clients, at: int) -> None:
    removed_one = artifact(cloud, copied=True)
    cloud.fault(faults.refuse(403, "UnauthorizedOperation", "no"), nth=at, changing=True)
    with pytest.raises(ProviderError, match="allow the action"):
        remove_image(clients, removed_one, STORE)
    remove_image(clients, removed_one, STORE)
    assert left(cloud) == ([], []) and left(cloud, OTHER) == ([], [])


def test_a_snapshot_that_another_image_uses_stays(cloud: Cloud, clients: Clients) -> None:
    removed_one = artifact(cloud)
    cloud.fault(
        faults.refuse(400, "InvalidSnapshot.InUse", "The snapshot is currently in use by ami-2"),
        action="DeleteSnapshot",
    )
    remove_image(clients, removed_one, STORE)
    assert left(cloud) == ([], removed_one["snapshots"])


@pytest.mark.parametrize("tags", [None, {"immutable:store": "another"}, {"Name": "shop-1"}])
def test_an_ami_that_does_not_carry_the_tag_of_the_store_stays(
    cloud: Cloud, clients: Clients, tags: dict[str, str] | None
) -> None:
    """Its record names it, and a record may name anything."""
    ami = seeds.image(cloud, "shop-1", tags)
    foreign = {"ami": ami, "region": REGION, "name": "shop-1", "snapshots": snapshots(cloud, ami), "copies": {}}
    before = left(cloud)
    images = Ec2Images(cloud.account(), store=STORE)
    why = f"{ami} in {REGION} does not carry the tag immutable:store of this store"
    assert images.users([foreign, artifact(cloud, "shop-2")]) == [[why], []]
    with pytest.raises(ProviderError, match="so it is not removed"):
        images.remove(foreign)
    assert {ami, *before[0]} <= set(left(cloud)[0]) and set(before[1]) <= set(left(cloud)[1])


def test_a_snapshot_that_does_not_carry_the_tag_of_the_store_stays(cloud: Cloud, clients: Clients) -> None:
    own, foreign = artifact(cloud), seeds.image(cloud, "theirs")
    kept = snapshots(cloud, foreign)
    remove_image(clients, {**own, "snapshots": [*own["snapshots"], *kept]}, STORE)
    cloud.boto("ec2").deregister_image(ImageId=foreign)
    remove_image(clients, {**own, "snapshots": [*own["snapshots"], *kept]}, STORE)
    assert left(cloud) == ([], kept)
