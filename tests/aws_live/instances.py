# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules of instances. One instance of the smallest type is launched, for a few minutes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .live import Live, equal, refused


def user_data(live: Live) -> Iterator[str]:
    ec2 = live.client("ec2")
    yield refused(
        ec2.run_instances,
        "InvalidParameterValue",
        **launch_parameters(live),
        UserData="x" * (16 * 1024 + 1),
        ClientToken=f"{live.run}-large",
    )


def client_tokens(live: Live) -> Iterator[str]:
    """A repeated token returns the first instance, until that is terminated."""
    ec2, token = live.client("ec2"), f"{live.run}-token"
    first = instance(live, token)
    again = ec2.run_instances(**launch_parameters(live), ClientToken=token)["Instances"][0]["InstanceId"]
    yield equal("the instance of a repeated token", again, first)
    other = {**launch_parameters(live), "InstanceType": "t3.micro" if live.instance_type != "t3.micro" else "t3.nano"}
    yield refused(ec2.run_instances, "IdempotentParameterMismatch", **other, ClientToken=token)
    ec2.terminate_instances(InstanceIds=[first])
    live.wait("instance_terminated", {"instance-id": first})
    yield refused(ec2.run_instances, "IdempotentInstanceTerminated", **launch_parameters(live), ClientToken=token)


def life_cycle(live: Live) -> Iterator[str]:
    """Launches and stops take time, and a stopping instance cannot be started."""
    ec2 = live.client("ec2")
    one = instance(live, f"{live.run}-life")
    yield equal("the state after a launch", _state(live, one), "pending")
    live.wait("instance_running", {"instance-id": one})
    ec2.stop_instances(InstanceIds=[one])
    yield equal("the state after a stop", _state(live, one), "stopping")
    yield refused(ec2.start_instances, "IncorrectInstanceState", InstanceIds=[one])


def reserved_tags(live: Live) -> Iterator[str]:
    one = instance(live, f"{live.run}-tags")
    call = live.client("ec2").create_tags
    yield refused(call, "InvalidParameterValue", Resources=[one], Tags=[{"Key": "aws:x", "Value": "1"}])


def launch_parameters(live: Live) -> dict[str, object]:
    """The parameters of RunInstances for one instance."""
    return {
        "ImageId": live.ami,
        "InstanceType": live.instance_type,
        "SubnetId": live.subnet,
        "MinCount": 1,
        "MaxCount": 1,
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required"},
        "TagSpecifications": [*live.tags("instance"), *live.tags("volume")],
    }


def instance(live: Live, token: str) -> str:
    """The id of a new instance, which is terminated after the check."""
    ec2 = live.client("ec2")
    one = str(ec2.run_instances(**launch_parameters(live), ClientToken=token)["Instances"][0]["InstanceId"])
    live.afterwards(lambda: ec2.terminate_instances(InstanceIds=[one]))
    return one


def described(live: Live, one: str) -> dict[str, Any]:
    """The instance as EC2 describes it."""
    (page,) = live.client("ec2").describe_instances(InstanceIds=[one])["Reservations"]
    return dict(page["Instances"][0])


def _state(live: Live, one: str) -> str:
    # By a filter: a new instance may not be known by its id yet.
    found = live.client("ec2").describe_instances(Filters=[{"Name": "instance-id", "Values": [one]}])["Reservations"]
    return str(found[0]["Instances"][0]["State"]["Name"]) if found else "not listed"
