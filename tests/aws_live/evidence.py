# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host may do in the bucket, and who signs the document about it. One instance is launched.

The instance runs the guest's own programs: cloud-init starts a script that tries what the policy of hosts forbids,
prints the answers on the console, and then puts evidence.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.identity import arn_of, claim_in, mismatch
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.identity_signature import signed_document
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.guest_document import launch_document

from .instances import described, launch_parameters
from .live import Live, equal

PROGRAMS = Path(__file__).parents[2] / "roles/seal/files/launch/usr/lib/immutable"
MARK = "IMMUTABLE-LIVE "
FORBIDDEN = ("another name", "its own object", "the list")
EVIDENCE = {"digest": "sha256:0", "nonce": "live", "host_key": "", "shell": "off"}
SCRIPT = """#!/usr/bin/python3
import base64, gzip, http.client, io, json, subprocess, sys, tarfile, time
from urllib.parse import quote, urlsplit
DOCUMENT="%(document)s"
sys.dont_write_bytecode = True
sys.path.insert(0, "/run/live")
tarfile.open(fileobj=io.BytesIO(base64.b64decode(DOCUMENT))).extractall("/run/live")
import sigv4

def imds(path):
    return subprocess.run([sys.executable, "-IS", "/run/live/imds", path], stdout=subprocess.PIPE, check=True).stdout

place = json.load(open("/run/live/evidence.json"))
profile = "meta-data/iam/security-credentials/"
given = imds(profile + imds(profile).decode())
document, signature = (imds("dynamic/instance-identity/" + name) for name in ("document", "rsa2048"))
said = json.loads(document)
name = f"arn:{place['partition']}:ec2:{said['region']}:{said['accountId']}:instance/{said['instanceId']}"

def status(method, path):
    host, scope = urlsplit(place["url"]).netloc, (place["region"], "s3")
    headers = sigv4.signed(method, path, b"", headers={"host": host}, scope=scope,
                           credentials=json.loads(given), now=time.time())
    connection = http.client.HTTPSConnection(host, timeout=30)
    connection.request(method, path, b"", headers)
    return connection.getresponse().status

def path_of(name):
    return urlsplit(place["url"]).path + quote(name, safe="/-_.~")

put = subprocess.run([sys.executable, "-IS", "/run/live/upload", "/run/live"],
                     input=b"\\0".join([given, document, signature, json.dumps(%(evidence)s).encode()]))
answers = [status("PUT", path_of(name + "0")), status("GET", path_of(name)), status("GET", "/")]
with open("/dev/console", "w") as console:
    console.write("\\n" + %(mark)r + json.dumps([put.returncode, *answers]) + "\\n")
"""


def own_name(live: Live) -> Iterator[str]:
    """A host writes its own name and nothing else, and AWS signs the document in its object."""
    ec2, s3 = live.client("ec2"), live.client("s3")
    prefix = f"immutable-live/{live.run}/hosts/"
    parameters = {**launch_parameters(live), "IamInstanceProfile": {"Name": live.profile}}
    launched = ec2.run_instances(**parameters, UserData=script(live, prefix), ClientToken=f"{live.run}-evidence")
    one = str(launched["Instances"][0]["InstanceId"])
    live.afterwards(lambda: ec2.terminate_instances(InstanceIds=[one]))
    live.wait("instance_running", {"instance-id": one})
    found = described(live, one)
    key = prefix + arn_of(found, live.region)
    live.afterwards(lambda: s3.delete_object(Bucket=live.bucket, Key=key))
    answers = _printed(live, one)
    yield equal("the exit code of the program that puts evidence", answers[:1], [0])
    for what, status in zip(FORBIDDEN, answers[1:], strict=True):
        yield equal(f"the answer to a host that wants {what}", status, 403)
    s3.list_objects_v2(Bucket=live.bucket, Prefix=prefix)
    claim = claim_in(s3.get_object(Bucket=live.bucket, Key=key)["Body"].read())
    yield equal("whether the object is as a host writes it", claim is not None, True)
    if claim:
        document = signed_document(claim.signature, Path(live.certificates).read_text(encoding="ascii"))
        yield equal("whether AWS signed the document", document is not None, True)
        difference = mismatch(document or "", found, live.region)
        yield equal("what differs between the document and the instance", difference, "")


def script(live: Live, prefix: str) -> bytes:
    """The user data: a script with the guest's programs, compressed."""
    place = {
        "url": f"https://{live.bucket}.s3.{live.region}.amazonaws.com/{prefix}",
        "region": live.region,
        "partition": live.client("s3").meta.partition,
    }
    members = {name: (PROGRAMS / name).read_bytes() for name in ("aws.py", "imds", "sigv4.py", "upload")}
    members |= {"evidence.json": json.dumps(place).encode(), "nonce": EVIDENCE["nonce"].encode()}
    document = base64.b64encode(gzip.compress(launch_document(members), mtime=0)).decode()
    return (SCRIPT % {"document": document, "evidence": repr(EVIDENCE), "mark": MARK}).encode()


def _printed(live: Live, one: str) -> list[Any]:
    """The line of the script on the console. Raises TimeoutError."""
    ec2 = live.client("ec2")

    def lines() -> list[str]:
        text = str(ec2.get_console_output(InstanceId=one, Latest=True).get("Output", ""))
        return [line[len(MARK) :] for line in text.splitlines() if line.startswith(MARK)]

    found = live.until(bool, lines)
    if not found:
        raise TimeoutError(f"the console of {one} shows no line that begins with {MARK!r}")
    return list(json.loads(found[0]))
