# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever others write, a parser returns a value or raises an error of this project: no traceback, no endless work.

``make fuzz`` plays new inputs for ``FUZZ_MINUTES``.
"""

from __future__ import annotations

import gzip
import json
import math
import socket
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.events import parse_line
from ansible_collections.immutable.infra.plugins.module_utils._packer.inspection import parse_inspection
from ansible_collections.immutable.infra.plugins.plugin_utils._core.documents import MAX_DEPTH, parse_json
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import Health, HttpProbe
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.lease import Lease, SystemClock
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.ledger import Ledger
from ansible_collections.immutable.infra.plugins.plugin_utils._fleet.upkeep.references import swapped_images
from ansible_collections.immutable.infra.plugins.plugin_utils._health.metrics import number_in
from ansible_collections.immutable.infra.plugins.plugin_utils._health.prober import health_of
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import accounts_of, artifact_in
from ansible_collections.immutable.infra.plugins.plugin_utils._images.catalogue import Catalogue
from ansible_collections.immutable.infra.plugins.plugin_utils._images.channels import Channels
from ansible_collections.immutable.infra.plugins.plugin_utils._images.retirement import Retirements
from ansible_collections.immutable.infra.plugins.plugin_utils._images.revocation import Revocations
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.manifest import Manifest
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.contract import Instance
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.ec2.describe import instance_of, volume_of
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.evidence import (
    checked_evidence,
    parse_evidence,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu import qmp
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.image_users import image_users
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.provider import QemuCompute
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.volumes import QemuVolumes
from ansible_collections.immutable.infra.plugins.plugin_utils._report.facts import attested_facts, bounded, swap_story
from ansible_collections.immutable.infra.plugins.plugin_utils._report.page import page_html
from ansible_collections.immutable.infra.plugins.plugin_utils._report.swaps import swap_view
from ansible_collections.immutable.infra.plugins.plugin_utils._report.view import page_view
from ansible_collections.immutable.infra.plugins.plugin_utils._store.file import FileStore
from ansible_collections.immutable.infra.plugins.plugin_utils._traffic.haproxy.state import parse_servers
from ansible_collections.immutable.infra.tests.support import report_pages
from ansible_collections.immutable.infra.tests.support.outside import (
    ATTESTED,
    BUILD,
    CHANNEL,
    DIGEST,
    INTENT,
    LEASE,
    MACHINE,
    NESTED,
    NUMBERS,
    RECIPE,
    RECORD,
    REVOCATION,
    SWAP,
    TREES,
    VOLUME,
    damaged,
)
from ansible_collections.immutable.infra.tests.support.packer_results import collect
from hypothesis import example, given
from hypothesis import strategies as st


def fails_only_clearly(work: Callable[[], object]) -> None:
    """Only errors of this project, with one message that a user can read."""
    try:
        work()
    except ImmutableError as error:
        assert error.message and len(error.message) < 2000, error.message


@given(st.one_of(st.binary(max_size=80), TREES.map(lambda tree: json.dumps(tree).encode()), st.sampled_from(NESTED)))
def test_json_is_parsed_or_refused(data: bytes) -> None:
    try:
        value = parse_json(data)
    except ValueError:
        return
    assert value == json.loads(data)


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1])
def test_json_nests_up_to_a_bound(depth: int) -> None:
    text = "[" * depth + "]" * depth
    if depth <= MAX_DEPTH:
        assert json.dumps(parse_json(text)) == text
    else:
        with pytest.raises(ValueError, match="nests more than 100 levels"):
            parse_json(text)


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_out_of_range_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="is out of range|is not a number"):
        parse_json(b"[" + text + b"]")


def in_store(key: str, good: Any, use: Callable[[FileStore], object]) -> Callable[[bytes], None]:
    """A check of what happens if the document at ``key`` is something else."""

    def check(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = FileStore(Path(folder, "store"))
            store.write_blob(f"images/{'a' * 64}/{BUILD}/record.json", json.dumps(RECORD).encode())
            store.write_blob(key, data)
            fails_only_clearly(lambda: use(store))

    with tempfile.TemporaryDirectory() as folder:
        store = FileStore(Path(folder, "store"))
        store.write_blob(f"images/{'a' * 64}/{BUILD}/record.json", json.dumps(RECORD).encode())
        store.write_blob(key, json.dumps(good).encode())
        use(store)  # the good document is read
    return check


def use_lease(store: FileStore) -> None:
    lease = Lease(store, "shop-local", "a test", SystemClock())
    lease.acquire()
    lease.need(1.0)
    lease.release()


def read_ledger(store: FileStore) -> None:
    ledger = Ledger(store, "shop-local")
    last = ledger.last()
    ledger.records(5)
    ledger.recipe("l")
    swapped_images(store)
    if last:
        ledger.save(last)


def read_images(store: FileStore) -> None:
    for image in Catalogue(store).list():
        Catalogue(store).find(image.name)
        for each in ["", *accounts_of(image.artifact)]:
            artifact_in(image.artifact, each)
        snapshots = [image.artifact, *image.artifact.get("copies", {}).values()]
        assert all(isinstance(name, str) for each in snapshots for name in each.get("snapshots", ()))


def report_swaps(store: FileStore) -> None:
    for record in Ledger(store, "shop-local").records(5):
        swap_view(bounded(swap_story("shop-local", record)))


def read_channels(store: FileStore) -> None:
    Catalogue(store).list()
    channels = Channels(store)
    channels.list()
    channels.require_current("shop", "prod")
    try:
        channels.rollback_image("shop", "prod", DIGEST)
    except ImmutableError:
        channels.require_promoted("shop", "prod")


def read_revocations(store: FileStore) -> None:
    Revocations(store).reasons()
    marks = Retirements(store)
    marks.pending()
    for digest, build in marks.stale():
        marks.end(digest, build)


STORED = {
    "image": (f"images/{'a' * 64}/{BUILD}/record.json", RECORD, read_images),
    "channel": ("channels/shop/prod.json", CHANNEL, lambda store: Channels(store).list() and Catalogue(store).list()),
    "channel used": ("channels/shop/prod.json", CHANNEL, read_channels),
    "revocation": (f"revoked/{'a' * 64}/{BUILD}.json", REVOCATION, read_revocations),
    "intent": ("fleets/shop-local/intent.json", INTENT, read_ledger),
    "record": ("fleets/shop-local/records/1.json", {"intent": INTENT, "ended": "now"}, read_ledger),
    "record reported": ("fleets/shop-local/records/1.json", SWAP, report_swaps),
    "recipe": ("fleets/shop-local/recipes/l.json", RECIPE, read_ledger),
    "lease": ("leases/shop-local.json", {**LEASE, "released": True}, use_lease),
    "lease held": ("leases/shop-local.json", LEASE, use_lease),
}


@given(st.dictionaries(st.sampled_from([*ATTESTED, *ATTESTED["differences"][0]]), TREES) | TREES, TREES)
def test_a_host_returns_what_it_likes_and_the_report_is_drawn(result: Any, difference: Any) -> None:
    results = {"web-1": result, "web-2": {**ATTESTED, "differences": [difference]}, "web-3": ATTESTED}
    attested = [attested_facts(host, each) for host, each in results.items()]
    known = report_pages.facts([], attested=bounded(attested))
    assert b"web-3" in page_html(page_view(known), "now")


@pytest.mark.parametrize("name", STORED)
def test_a_document_of_the_store_is_read_or_causes_one_clear_error(name: str) -> None:
    key, good, use = STORED[name]
    check = in_store(key, good, use)
    given(damaged(good))(check)()


@given(damaged(MACHINE))
def test_the_document_of_a_machine_is_read_or_causes_one_clear_error(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        document = root / "machines/shop-local/x/machine.json"
        document.parent.mkdir(parents=True)
        document.write_bytes(data)
        compute = QemuCompute(root, QemuVolumes(root, root / "machines"), lambda _disk: pytest.fail("it is started"))
        fails_only_clearly(lambda: compute.list("shop-local"))
        fails_only_clearly(compute.fleets)
        fails_only_clearly(lambda: image_users(root / "machines", [{"path": "/x"}]))


@given(damaged(VOLUME))
def test_the_document_of_a_volume_is_read_or_causes_one_clear_error(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        document = root / "volumes/shop-local/0-a/volume.json"
        document.parent.mkdir(parents=True)
        document.write_bytes(data)
        fails_only_clearly(lambda: QemuVolumes(root, root / "machines").list("shop-local"))
        fails_only_clearly(lambda: QemuVolumes(root, root / "machines").disks("shop-local", "x"))


EVIDENCE = {"digest": DIGEST, "nonce": "n", "host_key": "ssh-ed25519 AAAA", "shell": "off"}


@given(st.lists(st.one_of(damaged(EVIDENCE), st.binary(max_size=40)), max_size=4), st.booleans())
@example([b"[" * 100_000], True)
def test_a_console_has_evidence_or_none(lines: list[bytes], marked: bool) -> None:
    mark = "IMMUTABLE-SEALED " if marked else ""
    found = parse_evidence("\n".join(mark + line.decode(errors="replace") for line in lines), "n")
    assert found is None or checked_evidence(asdict(found)) == found


PACKER_WORDS = st.sampled_from(
    ["1700000000", "", "qemu.vm", "ui", "say", "error", "artifact", "artifact-count", "error-count", "0", "-1", "end"]
    + ["template-variable", "version", "%!(PACKER_COMMA)", "\\n", "Build 'a' errored after 1 s: b", "9" * 5000, "²"]
)
PACKER_LINES = st.lists(
    st.one_of(st.lists(PACKER_WORDS | st.text(max_size=5), max_size=7).map(",".join), st.text(max_size=40)), max_size=8
)


@given(PACKER_LINES)
@example(["0,qemu.vm,artifact,0,file,0,disk", "0,qemu.vm,artifact,0,end"])
def test_any_output_of_packer_has_a_result(lines: list[str]) -> None:
    result = collect(event for event in map(parse_line, lines) if event).as_dict()
    assert json.loads(json.dumps(result)) == result


@given(PACKER_LINES)
@example(["0,,template-variable,b,1,0", "0,,template-variable,a,2,0"])
@example(["0,,ui,say,> input-variables:", "0,,ui,say,var.a: " + "[" * 100_000])
def test_any_output_of_packer_inspect_is_a_template(lines: list[str]) -> None:
    names = [found.name for found in parse_inspection(filter(None, map(parse_line, lines))).variables]
    assert names == sorted(names)


@given(st.one_of(damaged({"schema": 1, "files": {"/a": ["file", "0644", 0, 0, 1, ""]}}), st.binary(max_size=20)))
@example(b'{"schema":' + b"[" * 100_000)
def test_a_manifest_is_read_or_causes_one_clear_error(data: bytes) -> None:
    fails_only_clearly(lambda: Manifest.from_gzip(gzip.compress(data)))


@given(st.text(max_size=60), st.sampled_from(["", "a", "a.b[0]", "[0]"]))
@example("[" * 100_000, "a")
@example("1e999", "")
def test_an_answer_of_a_metric_is_a_number_or_has_none(text: str, path: str) -> None:
    try:
        number = number_in(text, path)
    except ValueError:
        return
    assert math.isfinite(number)


TAG = st.one_of(st.text(max_size=12), st.sampled_from(["0", "0,1", "²", "9" * 5000, "shop", "fleet", "verify"]))
TAGS = st.dictionaries(
    st.sampled_from(
        ["fleet", "store", "slots", "slot", "volume", "attempt", "ports", "purpose", "health", "evidence", "address"]
    ),
    TAG,
)


@given(TAGS, st.integers(0, 3))
def test_any_tags_are_an_instance_or_none(tags: dict[str, str], index: int) -> None:
    now = datetime.now(timezone.utc)
    described = {
        "InstanceId": "i-1",
        "State": {"Name": "running"},
        "LaunchTime": now,
        "AmiLaunchIndex": index,
        "PrivateIpAddress": "192.0.2.1",
        "Tags": [{"Key": f"immutable:{name}", "Value": text} for name, text in tags.items()],
    }
    found = instance_of(described, {}, lambda _id: 0.0)
    if found:
        assert (found.fleet, found.slot) == (tags["fleet"], int(tags["slots"].split(",")[index])) and found.slot >= 0
        assert isinstance(health_of(found, Health(http=HttpProbe(port=80))), Health)
    volume = volume_of({"VolumeId": "vol-1", "Size": 1, "Tags": described["Tags"]})
    if volume:
        assert (volume.fleet, volume.slot, volume.name) == (tags["fleet"], int(tags["slot"]), tags["volume"])


HEALTH = {"http": {"port": 80, "path": "/", "status": [200]}, "tcp": {"port": 1}, "timeout": 1.0}


@given(damaged(HEALTH))
def test_a_tag_of_health_is_read_or_ignored(data: bytes) -> None:
    default = Health(http=HttpProbe(port=80))
    instance = Instance(
        id="i",
        fleet="f",
        slot=0,
        image="",
        launch="",
        state="running",
        purpose="fleet",
        created=0.0,
        nonce="",
        endpoints={},
        evidence=None,
        tags={"health": data.decode(errors="replace")},
        started=0.0,
    )
    assert isinstance(health_of(instance, default), Health)


STATES = (
    "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_time_since_last_change "
    "srv_check_state srv_port\n3 fleet 1 a 127.0.0.1 2 0 5 6 8080\n"
)
STATS = "# pxname,svname,qcur,scur,status,check_status,\nfleet,a,0,1,UP,L7OK,\n"


def test_a_table_of_haproxy_is_read() -> None:
    assert [server.id for server in parse_servers(STATES, STATS)] == ["a"]


@st.composite
def cut(draw: st.DrawFn, good: str) -> str:
    start, end = draw(st.integers(0, len(good))), draw(st.integers(0, len(good)))
    return draw(
        st.one_of(st.just(good), st.text(max_size=30), st.just(good[:start] + draw(st.text(max_size=4)) + good[end:]))
    )


@given(cut(STATES), cut(STATS))
@example(STATES, STATS.replace(",0,1,UP,L7OK,", ""))
@example(STATES, STATS.replace(",L7OK,", ""))
def test_an_answer_of_haproxy_is_read_or_causes_one_clear_error(states: str, stats: str) -> None:
    fails_only_clearly(lambda: parse_servers(states, stats))


QMP_LINES = st.lists(
    st.one_of(damaged({"return": {}}), damaged({"error": {"class": "a", "desc": "b"}}), st.just(b'{"event": "STOP"}')),
    max_size=6,
)


@given(QMP_LINES)
@example([b"{}", b"{}", b"[" * 100_000])
def test_an_answer_of_qmp_is_read_or_causes_one_clear_error(lines: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        path = Path(folder, "qmp.sock")
        server.bind(str(path))
        server.listen(1)

        def answer() -> None:
            connection, _address = server.accept()
            with connection:
                try:
                    connection.sendall(b"".join(line + b"\n" for line in lines))
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(4096):
                        pass
                except OSError:
                    pass

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        fails_only_clearly(lambda: qmp.execute(path, [("cont", {})]))
        thread.join()
