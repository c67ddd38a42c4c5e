# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import os
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._aws import clients
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ConflictError, StoreError
from ansible_collections.immutable.infra.plugins.plugin_utils._store import local, s3
from ansible_collections.immutable.infra.plugins.plugin_utils._store.base import ABSENT
from ansible_collections.immutable.infra.plugins.plugin_utils._store.registry import (
    find_store,
    folder_store,
    open_store,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._store.s3 import S3Store
from ansible_collections.immutable.infra.tests.support.aws.bucket import BUCKET, LOCATION
from ansible_collections.immutable.infra.tests.support.aws.faults import (
    before,
    denied,
    drop,
    drop_after,
    expired,
    refuse,
)
from ansible_collections.immutable.infra.tests.support.aws.server import Cloud


def test_a_document_is_read_back_unchanged(bucket: S3Store) -> None:
    assert bucket.read("channels/shop/prod.json") is None
    tag = bucket.write("channels/shop/prod.json", {"image": "ä", "history": [1, None]})
    assert open_store(LOCATION).read("channels/shop/prod.json") == ({"image": "ä", "history": [1, None]}, tag)
    assert bucket.location_of("channels/shop/prod.json") == "s3://shop-store/infra/channels/shop/prod.json"


def test_a_write_with_an_outdated_tag_changes_nothing(bucket: S3Store) -> None:
    with pytest.raises(ConflictError):
        bucket.write("a.json", 1, expect='"d41d8cd98f00b204e9800998ecf8427e"')
    first = bucket.write("a.json", 1, expect=ABSENT)
    with pytest.raises(ConflictError, match="s3://shop-store/infra/a.json was changed by another process"):
        bucket.write("a.json", 2, expect=ABSENT)
    second = bucket.write("a.json", 2, expect=first)
    with pytest.raises(ConflictError):
        bucket.write("a.json", 3, expect=first)
    assert bucket.read("a.json") == (2, second)


def test_one_of_two_simultaneous_writers_gets_a_conflict(bucket: S3Store) -> None:
    for turn in range(5):
        tag = bucket.write("a.json", {"turn": turn})
        both = threading.Barrier(2)

        def write(number: int, tag: str = tag, both: threading.Barrier = both) -> int:
            both.wait()
            try:
                bucket.write("a.json", {"writer": number}, expect=tag)
            except ConflictError:
                return -1
            return number

        with ThreadPoolExecutor(2) as pool:
            winners = [number for number in pool.map(write, range(2)) if number >= 0]
        found = bucket.read("a.json")
        assert found is not None and [found[0]["writer"]] == winners


BUSY = refuse(409, "ConditionalRequestConflict", "a conflicting operation occurred")


def test_a_write_that_meets_another_operation_is_repeated(
    cloud: Cloud, bucket: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_BUSY_DELAYS", (0.0, 0.0))
    cloud.fault(BUSY, action="PutObject", times=2)
    tag = bucket.write("a.json", 1, expect=ABSENT)
    assert bucket.read("a.json") == (1, tag) and cloud.count(action="PutObject") == 3


def test_a_write_that_meets_other_operations_again_and_again_is_a_conflict(
    cloud: Cloud, bucket: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_BUSY_DELAYS", (0.0, 0.0))
    cloud.fault(BUSY, action="PutObject", times=0)
    with pytest.raises(ConflictError):
        bucket.write("a.json", 1, expect=ABSENT)
    assert cloud.count(action="PutObject") == 3


def test_a_write_that_comes_second_after_a_busy_answer_is_a_conflict(
    cloud: Cloud, bucket: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_BUSY_DELAYS", (0.0, 0.0))
    tag = bucket.write("a.json", 0)
    other = before(lambda: S3Store(LOCATION).write("a.json", {"holder": "other"}))
    cloud.fault(BUSY, action="PutObject")
    cloud.fault(other, action="GetObject", times=0)
    cloud.fault(other, action="PutObject", nth=2)
    with pytest.raises(ConflictError):
        bucket.write("a.json", {"holder": "me"}, expect=tag)


def test_a_write_that_took_effect_before_a_busy_answer_is_recognized(
    cloud: Cloud, bucket: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of the first attempt is lost, and the second one meets the first, which is still in progress."""
    monkeypatch.setattr(s3, "_BUSY_DELAYS", (0.0, 0.0))
    tag = bucket.write("a.json", 0)
    cloud.fault(drop_after, action="PutObject")
    cloud.fault(BUSY, action="PutObject", nth=2)
    tag = bucket.write("a.json", {"holder": "me"}, expect=tag)
    assert bucket.read("a.json") == ({"holder": "me"}, tag)


@pytest.mark.parametrize("present", [True, False])
def test_a_write_whose_response_was_lost_is_recognized(cloud: Cloud, bucket: S3Store, present: bool) -> None:
    expect = bucket.write("a.json", 0) if present else ABSENT
    cloud.fault(drop_after, action="PutObject")
    tag = bucket.write("a.json", {"holder": "me"}, expect=expect)
    assert bucket.read("a.json") == ({"holder": "me"}, tag)
    assert cloud.count(action="PutObject") == 2 + present


def test_a_retried_write_that_comes_second_is_a_conflict(cloud: Cloud, bucket: S3Store) -> None:
    tag = bucket.write("a.json", 0)
    bucket.write("a.json", {"holder": "other"})
    cloud.fault(drop, action="PutObject")
    with pytest.raises(ConflictError):
        bucket.write("a.json", {"holder": "me"}, expect=tag)


def test_the_same_bytes_of_another_writer_are_still_a_conflict(bucket: S3Store) -> None:
    bucket.write("a.json", 1)
    with pytest.raises(ConflictError):
        bucket.write("a.json", 1, expect=ABSENT)


def test_a_list_has_the_keys_with_a_prefix_from_many_pages(cloud: Cloud, bucket: S3Store) -> None:
    plain = cloud.boto("s3")
    plain.put_object(Bucket=BUCKET, Key="infrared/records/x", Body=b"of another store")
    wanted = [f"records/{number:04}.json" for number in range(1001)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: plain.put_object(Bucket=BUCKET, Key=f"infra/{key}", Body=b"1"), wanted))
    bucket.write_blob("images/a/q/packer.log", b"log")
    assert bucket.list("records/") == wanted
    assert bucket.list("records/000") == wanted[:10]
    assert bucket.list("images/") == ["images/a/q/packer.log"]
    assert bucket.list("nothing/") == []
    bucket.delete("images/a/q/packer.log")
    bucket.delete("images/a/q/packer.log")
    assert bucket.read_blob("images/a/q/packer.log") is None


@pytest.mark.parametrize(
    "query, encryption",
    [
        ("?encryption=AES256", {"ServerSideEncryption": "AES256"}),
        ("?kms_key=alias/shop", {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/shop"}),
    ],
)
def test_every_object_is_encrypted(cloud: Cloud, bucket: S3Store, query: str, encryption: dict[str, str]) -> None:
    store = S3Store(LOCATION + query)
    store.write("a.json", 1)
    store.write_blob("b", b"1")
    store.secret_key()
    for key in ("a.json", "b", "keys/secret.json"):
        head = cloud.boto("s3").head_object(Bucket=BUCKET, Key=f"infra/{key}")
        assert {name: head[name] for name in encryption} == encryption


REQUIRES_KMS = {  # refuses another encryption than the bucket's, and accepts a request without a header
    "Effect": "Deny",
    "Action": "s3:PutObject",
    "Resource": f"arn:aws:s3:::{BUCKET}/*",
    "Condition": {
        "StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"},
        "Null": {"s3:x-amz-server-side-encryption": "false"},
    },
}


def test_the_encryption_of_the_bucket_is_left_to_the_bucket(cloud: Cloud, bucket: S3Store) -> None:
    """A header would replace the bucket's own key, and a policy may refuse it."""
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/records"}}
    cloud.boto("s3").put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})
    bucket.write("a.json", 1)
    head = cloud.boto("s3").head_object(Bucket=BUCKET, Key="infra/a.json")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/records")
    cloud.set(denied=(REQUIRES_KMS,))
    bucket.write("a.json", 2)
    bucket.write_blob("b", b"1")
    bucket.secret_key()
    with bucket.lock("bake", "a bake"):
        assert bucket.read("a.json") is not None
    S3Store(f"{LOCATION}?kms_key=alias/records").write("c.json", 1)


def test_a_bucket_that_requires_the_header_can_have_it(cloud: Cloud, bucket: S3Store) -> None:
    """Policies that were written before January 2023 often refuse a request without the header."""
    missing = {"Null": {"s3:x-amz-server-side-encryption": "true"}}
    cloud.set(denied=({**REQUIRES_KMS, "Condition": missing},))
    with pytest.raises(StoreError, match=r"add encryption=AES256 or kms_key to the location"):
        bucket.write("a.json", 1)
    S3Store(f"{LOCATION}?encryption=AES256").write("a.json", 1)
    assert cloud.boto("s3").head_object(Bucket=BUCKET, Key="infra/a.json")["ServerSideEncryption"] == "AES256"


@pytest.mark.parametrize("options", ["encryption=aws:kms", "encryption=AES256&kms_key=alias/a"])
def test_an_encryption_that_makes_no_sense_is_refused(options: str) -> None:
    with pytest.raises(StoreError, match="encryption"):
        S3Store(f"{LOCATION}?{options}")


@pytest.mark.parametrize("key", ["../x", "/x", "a//b", "a/./b", "", "a b"])
def test_a_key_cannot_leave_the_store(bucket: S3Store, key: str) -> None:
    for use in (
        bucket.read,
        bucket.read_blob,
        bucket.delete,
        bucket.local_path,
        bucket.location_of,
        lambda key: bucket.write(key, 1),
    ):
        with pytest.raises(StoreError, match="is not a valid store key"):
            use(key)


def test_keys_are_generated_once_and_copied_to_another_machine(
    cloud: Cloud, bucket: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, (private, public) = bucket.secret_key(), bucket.ssh_key("shop-prod")
    assert len(key) == 32
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another-machine"))
    other = S3Store(LOCATION)
    fetched, same_public = other.ssh_key("shop-prod")
    assert other.secret_key() == key and same_public == public and fetched != private
    assert fetched.read_bytes() == private.read_bytes()
    assert (
        stat.S_IMODE(fetched.stat().st_mode) == 0o600
        and stat.S_IMODE(other.local_path("x").parent.stat().st_mode) == 0o700
    )
    derived = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(fetched)], check=True, capture_output=True, text=True
    ).stdout.split()[:2]
    assert public.split()[:2] == derived
    assert other.ssh_key("mail-prod")[1] != public
    fetched.write_text("spoilt")
    assert other.ssh_key("shop-prod")[0].read_bytes() == private.read_bytes()


def test_of_two_processes_that_generate_a_key_the_second_uses_the_first_key(cloud: Cloud, bucket: S3Store) -> None:
    other, keys = S3Store(LOCATION), []
    cloud.fault(before(lambda: keys.append(other.secret_key())), action="PutObject")
    assert [bucket.secret_key()] == keys == [other.secret_key()]
    cloud.fault(before(lambda: keys.append(other.ssh_key("shop-prod")[1])), action="PutObject")
    assert bucket.ssh_key("shop-prod")[1] == keys[1] == other.ssh_key("shop-prod")[1]


def test_a_key_is_generated_although_a_conflicting_write_failed(cloud: Cloud, bucket: S3Store) -> None:
    cloud.fault(
        refuse(409, "ConditionalRequestConflict", "a conflicting operation occurred"), action="PutObject", times=2
    )
    assert bucket.secret_key() == S3Store(LOCATION).secret_key()


def test_without_a_home_the_private_folder_is_elsewhere(
    bucket: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder can be here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(local.tempfile, "tempdir", str(tmp_path))
    folder = S3Store(LOCATION).local_path("x").parent
    assert folder.parent == tmp_path and S3Store(LOCATION).local_path("x").parent == folder
    folder.chmod(0o777)
    with pytest.raises(StoreError, match="is not a private folder of this user"):
        S3Store(LOCATION).local_path("x")


@pytest.mark.parametrize(
    "location, message",
    [
        ("s3://", "does not name a bucket"),
        ("s3:/shop-store", r"is not a supported store \(allowed: the path of a folder, s3://bucket/prefix\)"),
        ("s3://Shop_Store/x", "does not name a bucket"),
        ("s3://shop-store/a b", "is not valid: 'a b' is not a valid store key"),
        ("s3://shop-store/../x", "store s3://shop-store/.* is not valid: "),
        (
            "s3://shop-store/x?bucket=y",
            r"unknown options: bucket \(allowed: region, profile, role, endpoint_url, external_id, kms_key, "
            r"encryption\)",
        ),
        ("s3://shop-store/x?region", "store s3://shop-store/.* is not valid: "),
        ("s3://shop-store/x?region=", "region must be given once, with a value"),
        ("s3://shop-store/x?region=a&region=b", "region must be given once, with a value"),
        ("s3://not-there/x", "the bucket not-there does not exist; create it first"),
        ("s3://shop-store/x?profile=nobody", "nobody"),
        ("gs://bucket/x", "gs://bucket/x is not a supported store"),
    ],
)
def test_an_invalid_location_causes_one_clear_message(bucket: S3Store, location: str, message: str) -> None:
    for find in (open_store, find_store):
        with pytest.raises(Exception, match=message) as caught:
            find(location)
        assert hasattr(caught.value, "message")


def test_a_location_sets_region_and_endpoint(cloud: Cloud, bucket: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    clients._drop_clients()
    store = S3Store(f"{LOCATION}?region=eu-central-1&endpoint_url={cloud.endpoint_url}")
    store.write("a.json", 1)
    assert cloud.calls(action="PutObject")[-1].region == "eu-central-1"


def test_a_public_bucket_is_refused(cloud: Cloud, bucket: S3Store) -> None:
    plain = cloud.boto("s3")
    plain.delete_public_access_block(Bucket=BUCKET)
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}
    plain.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [everybody]}))
    with pytest.raises(StoreError, match="the policy of the bucket shop-store makes it public"):
        S3Store("s3://shop-store/public")
    cloud.fault(denied, action="GetBucketPolicyStatus")
    S3Store("s3://shop-store/public").read("a.json")


def test_the_bucket_is_checked_once(cloud: Cloud, bucket: S3Store) -> None:
    S3Store(LOCATION).read("a.json")
    assert [call.action for call in cloud.calls()] == ["ListObjectsV2", "GetBucketPolicyStatus", "GetObject"]
    assert cloud.count(changing=True) == 0


def test_an_error_of_aws_names_the_failed_operation(cloud: Cloud, bucket: S3Store) -> None:
    cloud.fault(denied, action="GetObject")
    with pytest.raises(
        StoreError,
        match="s3://shop-store/infra/a.json cannot be read: AWS refused GetObject: .*allow the action s3:GetObject",
    ):
        bucket.read("a.json")
    cloud.fault(expired, action="PutObject")
    with pytest.raises(StoreError, match="s3://shop-store/infra/a.json cannot be written: .*renew the credentials"):
        bucket.write("a.json", 1)
    cloud.boto("s3").put_object(Bucket=BUCKET, Key="infra/a.json", Body=b"{half")
    with pytest.raises(StoreError, match="s3://shop-store/infra/a.json is not JSON"):
        bucket.read("a.json")
    with pytest.raises(
        StoreError, match=r"it keeps disks, so it needs a store in a folder \(this one is s3://shop-store/infra\)"
    ):
        folder_store(bucket, "it keeps disks")


def test_a_forked_worker_has_connections_of_its_own(bucket: S3Store) -> None:
    before, (reader, writer) = id(bucket._s3), os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, b"1" if id(bucket._s3) != before else b"0")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1) == b"1" and id(bucket._s3) == before
    os.close(reader)
    os.close(writer)
