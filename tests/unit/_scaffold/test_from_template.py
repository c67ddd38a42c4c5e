# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A definition from a Packer template: what is taken over loads, and everything else is listed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.guard import Guard
from ansible_collections.immutable.infra.plugins.plugin_utils._core.task import Task
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.model import Definition
from ansible_collections.immutable.infra.plugins.plugin_utils._scaffold.open import Sources, write_definition
from ansible_collections.immutable.infra.plugins.plugin_utils._scaffold.service import ServiceOptions

CORPUS = Path(__file__).parents[1] / "_packer"
SUM = "a" * 64
QEMU = f"""
packer {{
  required_plugins {{
    qemu = {{ version = ">= 1.0.0", source = "github.com/hashicorp/qemu" }}
  }}
}}
variable "memory" {{ default = "2048" }}
variable "password" {{
  default   = "hunter2-hunter2"
  sensitive = true
}}
source "qemu" "debian" {{
  disk_image    = true
  iso_url       = "https://example.com/debian.qcow2" # a comment with }} and "
  iso_checksum  = "sha256:{SUM}"
  memory        = var.memory
  cpus          = 1 + 1
  ssh_password  = var.password
  qemuargs      = [["-cpu", "max"], ["-smbios", "type=1,serial=${{var.memory}}"]]
  boot_command  = [<<-EOT
    root<enter> }}
    EOT
  ]
}}
build {{
  name    = "images"
  sources = ["source.qemu.debian", "source.vagrant.box"]
  provisioner "shell" {{
    inline = [
      "sudo apt-get update && sudo apt-get install -y nginx-light=1.22 curl",
      "export DEBIAN_FRONTEND=noninteractive",
    ]
  }}
  provisioner "file" {{
    source      = "${{path.root}}/shop.conf"
    destination = "/etc/shop.conf"
  }}
  provisioner "ansible-local" {{ playbook_file = "site.yml" }}
  provisioner "shell" {{
    environment_vars = ["TOKEN=hunter2-hunter2"]
    inline           = ["curl -H 'X: hunter2-hunter2' https://example.com"]
  }}
  post-processor "manifest" {{}}
}}
"""


def init(
    folder: Path, template: Path, build: str = "", executable: str = "/nonexistent", **options: Any
) -> dict[str, Any]:
    sources = Sources(template=template, build=build, executable=executable)
    task = Task(report=lambda _line: None, guard=Guard())
    return write_definition(folder, ServiceOptions(**{"port": 8080, **options}), sources, task=task)


def written(folder: Path, name: str, text: str, **options: Any) -> tuple[Definition, dict[str, Any]]:
    (folder / name).write_text(text)
    result = init(folder, folder / name, **options)
    return load_definition(folder), result


def test_a_disk_its_machine_and_what_tasks_can_do_are_taken_over(tmp_path: Path) -> None:
    (tmp_path / "shop.conf").write_text("listen\n")
    (tmp_path / "site.yml").write_text("[]\n")
    definition, result = written(tmp_path, "shop.pkr.hcl", QEMU)
    target = definition.target("local")
    assert (definition.service, target.provider) == ("shop", "qemu")
    assert (target.base.kind, target.base.source) == ("url", "https://example.com/debian.qcow2")
    assert (target.base.checksum, target.build.memory) == (f"sha256:{SUM}", 2048 * 1024**2)
    plays = yaml.safe_load((tmp_path / "provision.yml").read_text())
    assert plays[1]["ansible.builtin.import_playbook"] == "site.yml"
    tasks = {task["name"]: task for task in plays[0]["tasks"]}
    assert tasks["Install the packages"]["ansible.builtin.package"]["name"] == ["nginx-light=1.22", "curl"]
    assert tasks["Install /etc/shop.conf"]["ansible.builtin.copy"]["src"] == "shop.conf"
    left = "\n".join(result["left"])
    assert "builder qemu.debian, cpus: only Packer knows" in left
    assert "boot_command, qemuargs, ssh_password" in left
    assert "builder vagrant.box: no provider" in left and "provisioner 4 (shell)" in left and "post-processor" in left
    assert [finding["key"] for finding in result["found"] if "packages" in finding["what"]] == ["provision.yml"]


def test_no_command_and_no_value_that_can_be_secret_is_repeated(tmp_path: Path) -> None:
    _definition, result = written(tmp_path, "shop.pkr.hcl", QEMU)
    texts = "".join(path.read_text() for path in tmp_path.iterdir() if path.suffix == ".yml")
    assert "hunter2" not in texts + json.dumps(result)
    assert "# - provisioner 4 (shell), commands: 1" in (tmp_path / "provision.yml").read_text()


def test_an_image_of_containers_with_its_changes(tmp_path: Path) -> None:
    template = {
        "variables": {"digest": SUM, "from_environment": "{{env `HOME`}}"},
        "builders": [
            {"type": "null", "communicator": "none"},
            {
                "type": "docker",
                "name": "shop",
                "image": "debian:12@sha256:{{user `digest`}}",
                "commit": True,
                "changes": [
                    "ENV TOKEN=hunter2",
                    "EXPOSE 9000/tcp",
                    'CMD ["/usr/bin/shop", "{{user `from_environment`}}"]',
                ],
            },
        ],
        "provisioners": [{"type": "shell", "inline": ["true"], "only": ["null"]}],
    }
    # A change with a value that only Packer knows makes all of them unknown.
    definition, result = written(tmp_path, "shop.json", json.dumps(template), service="shop")
    assert definition.target("local").base.source == f"docker.io/library/debian@sha256:{SUM}"
    assert definition.command == () and "builder docker.shop, changes: only Packer knows" in "\n".join(result["left"])
    template["builders"][1]["changes"][2] = 'CMD ["/usr/bin/shop", "--all"]'
    (tmp_path / "immutable.yml").unlink()
    (tmp_path / "verify.yml").unlink()
    definition, result = written(tmp_path, "shop.json", json.dumps(template), port=0)
    assert definition.command == ("/usr/bin/shop", "--all")
    assert definition.target("local").health.http.port == 9000
    assert "hunter2" not in json.dumps(result)
    assert "provisioner 1 (shell): it is for other builds (only, except)" in result["left"]


def test_an_installer_and_a_tag_are_no_bases(tmp_path: Path) -> None:
    text = 'source "qemu" "a" { iso_url = "https://example.com/a.iso" }\nbuild { sources = ["qemu.a"] }\n'
    definition, result = written(tmp_path, "a.pkr.hcl", text, service="shop")
    assert definition.target("local").base.kind == "debian" and "an installer cannot be a base" in "\n".join(
        result["left"]
    )
    (tmp_path / "tag").mkdir()
    text = json.dumps({"builders": [{"type": "docker", "image": "debian:12"}]})
    definition, result = written(tmp_path / "tag", "a.json", text, service="shop")
    assert definition.target("local").base.kind == "debian" and "a tag can move" in "\n".join(result["left"])


def test_a_builder_for_aws_alone_has_no_network(tmp_path: Path) -> None:
    text = 'source "amazon-ebs" "a" { source_ami = "ami-0123456789abcdef0" }\nbuild { sources = ["amazon-ebs.a"] }\n'
    definition, result = written(tmp_path, "a.pkr.hcl", text, service="shop")
    assert definition.target("local").provider == "container"
    assert "name auto_scaling_group or target_group as well" in "\n".join(result["left"])


@pytest.mark.parametrize("build", ["", "a"])
def test_a_builder_for_openstack_is_left_to_the_user(tmp_path: Path, build: str) -> None:
    text = json.dumps({"builders": [{"type": "openstack", "name": "a", "flavor": "m1.small"}]})
    definition, result = written(tmp_path, "a.json", text, service="shop", build=build)
    assert definition.target("local").provider == "container"
    assert "builder openstack.a: write a target with provider: openstack" in "\n".join(result["left"])


def test_a_builder_is_chosen_by_its_name(tmp_path: Path) -> None:
    text = json.dumps({"builders": [{"type": "qemu", "name": "a"}, {"type": "docker", "name": "b"}]})
    definition, result = written(tmp_path, "a.json", text, service="shop", build="b")
    assert definition.target("local").provider == "container"
    assert "builder qemu.a: another target with provider: qemu" in "\n".join(result["left"])
    with pytest.raises(ImmutableError, match=r"no builder 'c' \(it has: qemu.a, docker.b\)"):
        init(tmp_path / "other", tmp_path / "a.json", build="c", service="shop")


HOSTILE = "x\"\n- evil: true\r\x85\u2028# {{ lookup('pipe', 'id') }}\x1b[2J\ufffe"


def test_hostile_names_neither_leave_a_comment_nor_become_templates(tmp_path: Path) -> None:
    template = {
        "builders": [
            {"type": "qemu", "name": HOSTILE, HOSTILE: 1, "memory": HOSTILE, "iso_url": HOSTILE, "disk_image": True},
            {"type": HOSTILE},
            {"type": "docker", "name": "d", "changes": ["EXPOSE 80\n{{x}}", f"{HOSTILE} a"]},
        ],
        "provisioners": [
            {"type": HOSTILE},
            {"type": "file", "source": HOSTILE, "destination": "/{{ x }}"},
            {"type": "shell", "inline": [f"apt-get install {HOSTILE}", "apt-get install -y $(id)"]},
            {"type": "ansible", "playbook_file": "../../etc/passwd"},
        ],
        "post-processors": [HOSTILE],
    }
    (tmp_path / "t.json").write_text(json.dumps(template))
    result = init(tmp_path, tmp_path / "t.json", service="shop")
    definition = load_definition(tmp_path)
    assert definition.target("local").base.kind == "debian"
    for name in result["files"]:
        text = (tmp_path / name).read_bytes()
        assert b"{{" not in text and b"\x1b" not in text and b"\r" not in text, name
        assert b"evil" not in b"\n".join(line for line in text.splitlines() if not line.startswith(b"#")), name
        yaml.safe_load(text)
    assert "{{" not in json.dumps(result["left"])


@pytest.mark.parametrize(
    "template",
    sorted((*CORPUS.glob("corpus/*.*"), CORPUS / "corpus/folder", *CORPUS.glob("scenarios/*.*"))),
    ids=lambda path: path.name,
)
def test_templates_of_other_tests_give_a_definition_or_a_reason(tmp_path: Path, template: Path) -> None:
    try:
        init(tmp_path, template, service="shop")
    except ImmutableError as error:
        assert "cannot be read" in error.message and template.stem in ("syntax_error", "json_error"), error.message
    else:
        load_definition(tmp_path)


def test_packer_reports_the_values_of_variables(tmp_path: Path) -> None:
    folder = tmp_path / "template"
    folder.mkdir()
    (folder / "v.pkr.hcl").write_text('variable "memory" { default = "1024" }\n')
    (folder / "s.pkr.hcl").write_text(
        'source "qemu" "a" { memory = var.memory }\nbuild { sources = ["source.qemu.a"] }\n'
    )
    (folder / "v.auto.pkrvars.hcl").write_text('memory = "4096"\n')
    init(tmp_path / "shop", folder, service="shop", executable="packer")
    if shutil.which("packer") is None:
        pytest.skip("needs Packer")
    assert load_definition(tmp_path / "shop").target("local").build.memory == 4096 * 1024**2


@pytest.mark.parametrize("text", ["}", "a {", "[" * 500 + "{" * 500, "a = [[[", '"', "x = {\n"])
def test_texts_that_are_no_hcl_end(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.pkr.hcl").write_text(text)
    try:
        init(tmp_path, tmp_path / "t.pkr.hcl", service="shop")
    except ImmutableError as error:
        assert "cannot be read" in error.message


@pytest.mark.parametrize("text", ["<<A\n" * 20000, "/* " * 20000, '\\"' * 20000])
def test_what_has_no_end_is_not_searched_for_again_and_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.pkr.hcl").write_text(text)
    with pytest.raises(ImmutableError, match="has no end|do not end"):
        init(tmp_path, tmp_path / "t.pkr.hcl", service="shop")


def test_a_text_over_several_lines_is_left_to_packer(tmp_path: Path) -> None:
    text = 'source "qemu" "a" {\n memory = "${max(\n  1, 2)}"\n cpus = 2\n}\nbuild { sources = ["source.qemu.a"] }\n'
    definition, result = written(tmp_path, "t.pkr.hcl", text, service="shop")
    assert definition.target("local").build.cpus == 2
    assert any("memory" in line for line in result["left"])


def test_a_template_cannot_repeat_its_values_without_a_bound(tmp_path: Path) -> None:
    sources = ", ".join(['"source.qemu.a"'] * 5000)
    (tmp_path / "t.pkr.hcl").write_text(f'source "qemu" "a" {{ cpus = 2 }}\nbuild {{ sources = [{sources}] }}\n')
    with pytest.raises(ImmutableError, match="more than 200 builders"):
        init(tmp_path, tmp_path / "t.pkr.hcl", service="shop")


@pytest.mark.parametrize(
    "part",
    [
        {"post-processors": [5, None, [["x"]]]},
        {"builders": [{"type": "qemu", "disk_image": True, "iso_url": "a\0b"}]},
        {"builders": [{"type": "qemu", "disk_image": True, "iso_url": "loop/x"}]},
        {"builders": [{"type": "qemu", "disk_image": True, "iso_url": "x" * 5000}]},
        {"builders": [{"type": "qemu", "cpus": "9" * 5000, "memory": "9" * 5000}]},
        {"provisioners": [{"type": "file", "source": "loop/x", "destination": "/etc/x"}]},
        {"provisioners": [{"type": "file", "source": "x" * 5000, "destination": "/etc/x"}]},
        {"provisioners": [{"type": "ansible", "playbook_file": "a\0b"}]},
    ],
    ids=lambda part: json.dumps(part)[:60],
)
def test_odd_values_are_left(tmp_path: Path, part: dict[str, Any]) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "t.json").write_text(json.dumps(part))
    init(tmp_path, tmp_path / "t.json", service="shop")
    assert load_definition(tmp_path).service == "shop"
