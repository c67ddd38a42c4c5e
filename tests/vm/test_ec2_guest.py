# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A sealed image that boots like an EC2 instance.

Its launch document comes from the metadata service and its secrets from SSM. It puts its evidence into a bucket. Its
root file system can be written, and its volumes are NVMe disks.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible_collections.immutable.infra.plugins.module_utils._seal import Spec
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.accel import choose
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.group_template import version_data
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.identity import Claim, claim_in
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.run_instances import Scope
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.evidence import parse_evidence
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_document import user_data
from ansible_collections.immutable.infra.tests.support.ec2_guest import HOST, NONCE, Ec2Guest, build
from ansible_collections.immutable.infra.tests.support.machines import STORE
from ansible_collections.immutable.infra.tests.support.metadata import PROFILE, metadata
from ansible_collections.immutable.infra.tests.support.sealed_guest import DIGEST, script_of
from moto.server import ThreadedMotoServer

pytestmark = pytest.mark.long

SECRET, REGION = "a-long-fake-password", "eu-central-1"
INSTANCE = {"instanceId": "i-0123456789abcdef0", "region": REGION, "accountId": "123456789012"}
IDENTITY = {
    "dynamic/instance-identity/document": json.dumps(INSTANCE, indent=2).encode(),
    "dynamic/instance-identity/rsa2048": b"AAAA\nBBBB",
}
UNIT = r"""
[Unit]
RequiresMountsFor=/var/lib/shop
[Service]
EnvironmentFile=/run/immutable/settings.env
LoadCredential=password:/run/immutable/secrets/password
ExecStart=/bin/sh -c '\
    echo "SHOP $greeting $(wc -c < $CREDENTIALS_DIRECTORY/password) $(findmnt -no SOURCE /var/lib/shop)" \
    > /dev/console; \
    exec sleep infinity'
[Install]
WantedBy=multi-user.target
"""
LAST = """
[Unit]
After=immutable-seal.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo THE-BOOT-ENDED > /dev/console'
[Install]
WantedBy=multi-user.target
"""
CLAIMS = script_of(f"""
claim 'test "$(stat -c %a:%u /run/immutable/secrets/password)" = 400:0'
claim 'test "$(cat /run/immutable/secrets/password)" = {SECRET}'
claim 'findmnt -no OPTIONS / | grep -qw ro'
claim 'test "$(findmnt -bno SIZE /)" -gt 4400000000'
claim 'dumpe2fs -h /dev/vda2 2> /dev/null | grep -q "Filesystem state: *clean"'
claim '! touch /etc/there 2> /dev/null'
claim 'test "$(blockdev --getro /dev/vda)" = 0'
claim '! mount -o remount,rw / 2> /dev/null'
claim '! systemctl is-active -q cloud-init.service cloud-init-local.service'
claim 'test "$(hostname)" != ip-10-0-0-1'
claim '! ls -A /run/immutable | grep -q given'
ip link add veth-of-guest type veth peer name veth-of-box
ip link add docker0 type bridge
for each in veth-of-guest veth-of-box docker0; do ip link set $each up; done
listed='networkctl list veth-of-guest veth-of-box docker0'
claim 'for _try in $(seq 60); do test $($listed | grep -c unmanaged) = 3 && break; sleep 1; done'
claim 'test $($listed | grep -c unmanaged) = 3'
claim 'bash -c ": < /dev/tcp/169.254.169.254/80"'
claim '! setpriv --reuid=65534 --regid=65534 --clear-groups bash -c ": < /dev/tcp/169.254.169.254/80" 2> /dev/null'
claim 'networkctl status $(ip -o route get 169.254.0.2 | grep -o "dev [^ ]*" | cut -c5-) | grep -q 80-immutable.network'
""")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ec2-image")
    units = folder / "files/etc/systemd/system"
    (units / "multi-user.target.wants").mkdir(parents=True)
    for name, text in {"shop.service": UNIT, "last.service": LAST}.items():
        (units / name).write_text(text, encoding="utf-8")
        (units / "multi-user.target.wants" / name).symlink_to(f"/etc/systemd/system/{name}")
    return build(
        folder,
        Spec("shop", "1", DIGEST, data=(("my-uploads", "/var/lib/shop"),)),
        folder / "files",
        packages=("fdisk",),
    )


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of AWS with a parameter, which is the secret, and a bucket."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE0")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example-key-of-the-controller")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    _client("ssm", port).put_parameter(Name="/shop/password", Value=SECRET, Type="SecureString")
    _client("s3", port).create_bucket(Bucket="shop", CreateBucketConfiguration={"LocationConstraint": REGION})
    yield port
    server.stop()


def _client(service: str, port: int) -> Any:
    return boto3.client(service, region_name=REGION, endpoint_url=f"http://127.0.0.1:{port}")


def _put_evidence(port: int) -> Claim:
    """What the guest put into the bucket, as the only object."""
    s3 = _client("s3", port)
    [found] = s3.list_objects_v2(Bucket="shop")["Contents"]
    assert found["Key"] == f"infra/hosts/arn:aws:ec2:{REGION}:123456789012:instance/i-0123456789abcdef0"
    claim = claim_in(s3.get_object(Bucket="shop", Key=found["Key"])["Body"].read())
    assert claim is not None
    return claim


def test_an_instance_seals_and_serves_once_its_volume_is_attached_but_not_without_a_secret(
    disk: Path, aws: int, tmp_path: Path
) -> None:
    url = f"http://{HOST}:{aws}"
    place = {"url": f"{url}/shop/infra/hosts/", "region": REGION, "partition": "aws"}
    with (
        metadata({**PROFILE, **IDENTITY}) as server,
        Ec2Guest(tmp_path, disk, choose(STORE / "qemu", disk), server.server_port, root_size="5G") as guest,
    ):
        request = guest.request(
            settings={"greeting": "hello"},
            secret_refs={"password": "/shop/password"},
        )
        server.bodies["user-data"] = user_data(
            request, {"my-uploads": "vol-0a1b2c3d4e5f60718"}, REGION, url, blank=["my-uploads"], evidence=place
        )
        evidence = parse_evidence(guest.wait_for("IMMUTABLE-SEALED"), NONCE)
        assert evidence is not None and (evidence.digest, evidence.nonce) == (DIGEST, NONCE)
        claim = _put_evidence(aws)
        assert (claim.evidence, claim.signature) == (evidence, "AAAA\nBBBB")
        checked = guest.ssh(CLAIMS, evidence.host_key)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        guest.attach("vol0ffffffffffffffff", 64 << 20)  # of another instance
        guest.attach("vol0a1b2c3d4e5f60718", 64 << 20)
        assert guest.wait_for("SHOP ").split()[:3] == ["SHOP", "hello", str(len(SECRET))]
        assert any("grow: the root has" in line for line in guest.output)
        guest.output.clear()
        guest.reset()  # now the volume is attached from the start and has a file system
        assert guest.wait_for("SHOP ").split()[:3] == ["SHOP", "hello", str(len(SECRET))]

        assert not any("grow:" in line for line in guest.output)
        guest.output.clear()
        # Auto Scaling gives the user data of a launch template version to each of its instances.
        of_group = replace(request, nonce="n-of-a-version")
        version = version_data({}, "ami-1", of_group, Scope(REGION, "store", url))
        server.bodies["user-data"] = base64.b64decode(version["UserData"])
        guest.reset()
        evidence = parse_evidence(guest.wait_for("IMMUTABLE-SEALED"), "n-of-a-version")
        assert evidence is not None and (evidence.digest, evidence.nonce) == (DIGEST, "n-of-a-version")
        guest.wait_for("THE-BOOT-ENDED")

        guest.output.clear()
        _client("ssm", aws).delete_parameter(Name="/shop/password")
        guest.reset()
        assert "SSM has no parameter for: password (/shop/password)" in guest.wait_for("IMMUTABLE-UNSEALED")
        guest.wait_for("THE-BOOT-ENDED")
        server.bodies["user-data"] = b"#cloud-config"
        guest.reset()
        assert "user-data: not a launch document" in guest.wait_for("IMMUTABLE-UNSEALED")
        guest.wait_for("THE-BOOT-ENDED")
        assert not [line for line in guest.output if SECRET in line or parse_evidence(line, NONCE)]
