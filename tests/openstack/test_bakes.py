# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packer's openstack builder against a real control plane, as a bake starts it, but without anyone to log in to.

On the fake hosts, the build machine has no console and no SSH server, and its snapshot is a few bytes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._packer.runner import (
    Packer,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builder import (
    BakeJob,
    BakeWorkspace,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.builders.openstack import (
    OpenStackBuilder,
    resolve_base,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._bake.variables import (
    BakeVariables,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import (
    BakeError,
    ImageError,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._core.progress import (
    silent,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import (
    Base,
    Build,
    Definition,
    FleetSpec,
    Machine,
    Network,
    Provision,
    Target,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.probes import (
    Health,
    TcpProbe,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._image_model import (
    MANIFEST_FILE,
    SBOM_FILE,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.image import (
    inspect_disk,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._inspection.manifest import (
    Manifest,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.connect import (
    Connections,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.glance import (
    Glance,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.images import (
    GlanceImages,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.openstack.leftovers import (
    OpenStackLeftovers,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._store.keys import (
    make_ssh_key,
    store_id,
)
from ansible_collections.immutable.infra.plugins.plugin_utils._store.memory import (
    MemoryStore,
)
from ansible_collections.immutable.infra.tests.support.openstack.clouds import cloud_of
from ansible_collections.immutable.infra.tests.support.openstack.projects import Project
from ansible_collections.immutable.infra.tests.support.small_disk import KEPT, raw_image

__all__ = ["raw_image"]  # a fixture
pytestmark = pytest.mark.skipif(not shutil.which("packer"), reason="needs packer")
DIGEST = f"sha256:{'ab' * 32}"
TIMEOUT = 900.0  # seconds; a busy machine takes long
PACKERS = sorted(path.parent for path in (Path(__file__).parents[2] / ".cache/packers").glob("*/packer"))


class Baker:
    """A bake in a project, up to the start of Packer."""

    def __init__(
        self,
        project: Project,
        cloud: Connections,
        folder: Path,
        secret: str = "",
        **build: Any,
    ) -> None:
        base = Base("glance", project.image(b"base"), python="3.11")
        target = Target(
            name="live",
            provider="openstack",
            fleet=FleetSpec(),
            health=Health(tcp=TcpProbe(80)),
            base=base,
            build=Build(zone="fake", **build),
            machine=Machine(flavor="m1.micro"),
            network=Network(networks=(project.network(),)),
            openstack=cloud.cloud,
            tags={"team": "shop"},
        )
        definition = Definition(
            path=folder / "immutable.yml",
            service="shop",
            version="1",
            provision=Provision("site.yml"),
            verify=None,
            data=(),
            writable=(),
            shell="restricted",
            targets={"live": target},
            base=base,
        )
        store = MemoryStore()
        self.store_id = store_id(store)
        self.images = GlanceImages(cloud, store=self.store_id)
        self.leftovers = OpenStackLeftovers(cloud, self.store_id)
        job = BakeJob(
            definition=definition,
            target=target,
            digest=DIGEST,
            build=self.images.build("x86_64"),
            inputs={},
            base=resolve_base(target, store, folder),
            variables=BakeVariables({}, {}, {"password": secret} if secret else {}),
        )
        self.builder = OpenStackBuilder(job, store_id=self.store_id, report=silent)
        self.workspace = BakeWorkspace(folder / "work", folder / "memory", folder / "packer.log", "marker")
        self.glance = Glance(cloud)
        for part in (self.workspace.folder, self.workspace.memory):
            part.mkdir(0o700)
        make_ssh_key(self.workspace.private_key, "")

    def template(self, settings: Any) -> Path:
        """A template without provisioning."""
        file = self.workspace.folder / "template.json"
        file.write_text(json.dumps({"builders": [{**settings, "communicator": "none"}]}))
        return file

    def kinds(self, *records: Any) -> list[str]:
        return [each.kind for each in self.leftovers.find(0.0, records)]


@pytest.fixture
def baker(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Baker]:
    cloud = cloud_of(project, tmp_path, monkeypatch)
    return lambda **build: Baker(project, cloud, tmp_path, **build)


@pytest.fixture(params=[None, *PACKERS], ids=["installed", *(folder.name for folder in PACKERS)])
def _packer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Packer on the search path, and each that ``make packers`` built, with its plugins."""
    if request.param:
        monkeypatch.setenv("PATH", f"{request.param}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("PACKER_PLUGIN_PATH", str(request.param / "plugins"))


@pytest.mark.usefixtures("_packer")
def test_packer_makes_a_private_image_with_our_marks(project: Project, baker: Callable[..., Baker]) -> None:
    bake = baker()
    with bake.builder.prepared(bake.workspace) as prepared:
        assert bake.kinds() == ["key_pair"]
        template = bake.template(prepared.settings)
        assert project.name not in template.read_text(), "the password is the project's name"
        environment = {
            "TMPDIR": str(bake.workspace.memory),
            "PACKER_LOG": "1",
            **prepared.environment,
        }
        result = Packer().build(
            template,
            environment=environment,
            timeout=TIMEOUT,
            redact=list(prepared.secrets),
            log_path=bake.workspace.log,
        )
    assert project.name not in bake.workspace.log.read_text()
    artifact = bake.builder.save(bake.workspace, result)
    image = bake.glance.find(artifact["glance"])
    assert image and image["visibility"] == "private" and image["name"] == artifact["name"]
    assert str(artifact["name"]).startswith("shop-1-abababababab-")
    marks = {
        "immutable:digest": DIGEST,
        "immutable:store": bake.store_id,
        "immutable:bake": "bake-abababababab",
    }
    assert {**marks, "team": "shop", "image_type": "image"}.items() <= image.items()
    assert (artifact["project"], artifact["region"]) == (project.id, "RegionOne")
    assert bake.images.present(artifact) and bake.images.users([artifact]) == [[]]
    assert bake.kinds(artifact) == [] and bake.kinds() == ["image"]
    bake.images.remove(artifact)
    assert not bake.images.present(artifact)


@pytest.mark.parametrize("mark", ["Waiting for server to become ready", "Waiting for image"])
def test_what_a_killed_packer_leaves_is_found_and_removed(mark: str, baker: Callable[..., Baker]) -> None:
    bake = baker()
    preparation = bake.builder.prepared(bake.workspace)  # kept: its end would clean up
    prepared = preparation.__enter__()
    packer = subprocess.Popen(
        ["packer", "build", "-machine-readable", str(bake.template(prepared.settings))],
        env={
            **os.environ,
            "TMPDIR": str(bake.workspace.memory),
            **prepared.environment,
        },
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert packer.stdout
    lines: list[str] = []
    for line in packer.stdout:
        lines.append(line)
        if mark in line:
            break
    os.killpg(packer.pid, signal.SIGKILL)
    packer.wait()
    assert mark in lines[-1], lines
    found = bake.leftovers.find(0.0, [])
    wanted = ["build_instance", "key_pair", *(["image"] if "image" in mark else [])]
    assert [one.kind for one in found] == wanted
    assert [one.kind for one in bake.leftovers.remove(found, lambda: None)] == wanted
    assert bake.kinds() == []


def test_the_next_bake_replaces_the_key_and_the_address_of_a_killed_one(
    project: Project, baker: Callable[..., Baker]
) -> None:
    bake = baker(floating_network="provider")
    killed = bake.builder.prepared(bake.workspace)
    killed.__enter__()
    assert sorted(bake.kinds()) == ["address", "key_pair"]
    (bake.workspace.memory / "clouds.json").unlink()
    with bake.builder.prepared(bake.workspace) as prepared:
        assert sorted(bake.kinds()) == ["address", "key_pair"]
        address = project.cloud.network.get_ip(prepared.settings["floating_ip"])
        assert address.description == prepared.settings["image_name"]
    assert bake.kinds() == []


def packed(raw: Path, folder: Path, *options: str) -> Path:
    """The disk as qcow2."""
    disk = folder / "disk.qcow2"
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, disk],
        check=True,
    )
    return disk


def made(image: str) -> Any:
    """What Packer says of an image that it made."""
    return SimpleNamespace(artifacts=[SimpleNamespace(id=image)])


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_the_manifest_is_that_of_the_images_bytes(
    form: str,
    project: Project,
    baker: Callable[..., Baker],
    raw_image: Path,
    tmp_path: Path,
) -> None:
    bake = baker()
    disk = raw_image if form == "raw" else packed(raw_image, tmp_path)
    image = project.image(disk.read_bytes(), disk_format=form)
    files = bake.builder.inspect(bake.workspace, made(image))
    assert set(files) == {MANIFEST_FILE, SBOM_FILE} and bake.builder.provenance["inspected"] == "glance"
    assert Manifest.from_gzip(files[MANIFEST_FILE]) == inspect_disk(raw_image, DIGEST, {}).manifest
    assert json.loads(files[SBOM_FILE])["components"]
    assert not list(bake.workspace.folder.iterdir()), "nothing of the image stays here"


def test_an_image_with_a_secret_is_removed(project: Project, baker: Callable[..., Baker], raw_image: Path) -> None:
    bake = baker(secret=KEPT.decode())
    image = project.image(raw_image.read_bytes())
    with pytest.raises(BakeError, match="contains residue of the bake: password: byte") as raised:
        bake.builder.inspect(bake.workspace, made(image))
    assert KEPT.decode() not in raised.value.message
    assert bake.glance.find(image) is None


def test_an_image_that_names_another_file_is_refused(
    project: Project, baker: Callable[..., Baker], raw_image: Path, tmp_path: Path
) -> None:
    bake = baker()
    disk = tmp_path / "disk.qcow2"
    create = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        str(raw_image),
        str(disk),
    ]
    subprocess.run(create, check=True)
    image = project.image(disk.read_bytes(), disk_format="qcow2")
    with pytest.raises(ImageError, match="backing file"):
        bake.builder.inspect(bake.workspace, made(image))


def test_what_packer_did_not_make_is_refused(project: Project, baker: Callable[..., Baker]) -> None:
    bake = baker()
    queued = project.cloud.image.create_image(name="queued", disk_format="raw", container_format="bare")
    for artifact, said in {
        "": "one image; got none",
        str(queued.id): "but it is queued",
    }.items():
        with pytest.raises(BakeError, match=said):
            bake.builder.save(
                bake.workspace,
                made(artifact) if artifact else SimpleNamespace(artifacts=[]),
            )
