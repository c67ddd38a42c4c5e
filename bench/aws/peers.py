# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Other tools that do the same work: they replace N instances of one image by N instances of another."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ansible_collections.immutable.infra.tests.support.aws.answers import Answer
from ansible_collections.immutable.infra.tests.support.aws.calls import Call
from ansible_collections.immutable.infra.tests.support.aws.proxy import Proceed
from ansible_collections.immutable.infra.tests.support.aws.server import KEY, REGION, SECRET, Cloud

from ..measuring import Case, Step, command
from .run import Lab

GROUP, TEMPLATE = "shop", "shop"
# A local mirror, so that Terraform needs no network.
TERRAFORM = os.environ.get("IMMUTABLE_TERRAFORM_PLUGINS", "/usr/share/terraform/plugins")
MAIN = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
variable "ami" {}
variable "size" {}
variable "subnets" { type = list(string) }
variable "endpoint" {}
provider "aws" {
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  endpoints {
    ec2 = var.endpoint
    sts = var.endpoint
  }
}
resource "aws_instance" "shop" {
  count         = var.size
  ami           = var.ami
  subnet_id     = var.subnets[count.index % length(var.subnets)]
  instance_type = "t3.micro"
  lifecycle { create_before_destroy = true }
}
"""


def no_metrics(call: Call, proceed: Proceed) -> Answer:
    """Answer the one call of amazon.aws that moto lacks. It does not affect the work."""
    if call.action != "DisableMetricsCollection":
        return proceed(call)
    space = "http://autoscaling.amazonaws.com/doc/2011-01-01/"
    metadata = "<ResponseMetadata><RequestId>0</RequestId></ResponseMetadata>"
    text = f"<{call.action}Response xmlns='{space}'>{metadata}</{call.action}Response>"
    return Answer(200, text.encode(), {"Content-Type": "text/xml"})


def amazon(lab: Lab, batch: int) -> Case:
    """amazon.aws with an Auto Scaling group."""
    folder = lab.folder / f"amazon-{batch}"
    play = folder / "replace.yml"

    def prepare(cloud: Cloud, size: int) -> Step:
        cloud.proxy.layers.append(no_metrics)
        old, new, where = lab.images[0], lab.images[1], lab.network
        ec2, groups = cloud.boto("ec2"), cloud.boto("autoscaling")
        ec2.create_launch_template(
            LaunchTemplateName=TEMPLATE, LaunchTemplateData={"ImageId": old, "InstanceType": "t3.micro"}
        )
        spread = ",".join(where.subnets)
        template = {"LaunchTemplateName": TEMPLATE, "Version": "1"}
        groups.create_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            LaunchTemplate=template,
            MinSize=size,
            MaxSize=size,
            DesiredCapacity=size,
            VPCZoneIdentifier=spread,
        )
        ec2.create_launch_template_version(
            LaunchTemplateName=TEMPLATE, LaunchTemplateData={"ImageId": new, "InstanceType": "t3.micro"}
        )
        task = {
            "name": GROUP,
            "launch_template": {"launch_template_name": TEMPLATE, "version": "2"},
            **dict.fromkeys(("min_size", "max_size", "desired_capacity"), size),
            "vpc_zone_identifier": list(where.subnets),
            "replace_all_instances": True,
            "lt_check": False,  # with it the module reports a change and replaces nothing
            "replace_batch_size": batch,
            "wait_timeout": 3600,
        }
        folder.mkdir(exist_ok=True)
        account = {"endpoint_url": cloud.endpoint_url, "region": REGION, "access_key": KEY, "secret_key": SECRET}
        tasks = [{"amazon.aws.autoscaling_group": {**account, **task}}]
        local = {"connection": "local", "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}}
        play.write_text(
            json.dumps([{"hosts": "localhost", "gather_facts": False, **local, "tasks": tasks}]), encoding="utf-8"
        )
        return command(
            [str(lab.peers / "bin/ansible-playbook"), "-i", "localhost,", str(play)],
            folder,
            lab.peer_environment(cloud),
            running(new, size),
        )

    return Case(f"amazon.aws 10, replace_all_instances, batch {batch}", prepare)


def terraform(lab: Lab) -> Case:
    """Terraform with create_before_destroy."""
    folder = lab.folder / "terraform"

    def prepare(cloud: Cloud, size: int) -> Step:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "main.tf").write_text(MAIN, encoding="utf-8")
        environment = lab.peer_environment(cloud)
        command(["terraform", "init", "-input=false", f"-plugin-dir={TERRAFORM}"], folder, environment).run(cloud)
        _apply(cloud, size, 0, environment).run(cloud)
        return _apply(cloud, size, 1, environment)

    def _apply(cloud: Cloud, size: int, image: int, environment: dict[str, str]) -> Step:
        values = {
            "ami": lab.images[image],
            "size": size,
            "subnets": list(lab.network.subnets),
            "endpoint": cloud.endpoint_url,
        }
        (folder / "terraform.tfvars.json").write_text(json.dumps(values), encoding="utf-8")
        argv = ["terraform", "apply", "-input=false", "-auto-approve", "-no-color"]
        return command(argv, folder, environment, running(lab.images[image], size))

    return Case("Terraform, create_before_destroy", prepare)


def has_terraform() -> bool:
    return shutil.which("terraform") is not None and any(Path(TERRAFORM).glob("*/hashicorp/aws"))


def running(ami: str, size: int) -> Callable[[Cloud], bool]:
    """A check whether ``size`` instances of the image run, and no others."""

    def check(cloud: Cloud) -> bool:
        pages = cloud.boto("ec2").get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 100})
        found = [each for page in pages for reservation in page["Reservations"] for each in reservation["Instances"]]
        return [each["ImageId"] for each in found if each["State"]["Name"] == "running"] == [ami] * size

    return check


__all__ = ["amazon", "has_terraform", "running", "terraform"]
