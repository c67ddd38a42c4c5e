# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Heat does the same work: a rolling update of a group of servers by a stack."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..measuring import Case, Step, command
from .heat_root import MOUNTED, inside, python
from .lab import FLAVOR, IMAGES, Lab

PORT = 8004
START = 120.0  # seconds until Heat's API must answer
OLD, NEW = IMAGES
STACK = "shop"
PASTE = """
[pipeline:heat-api]
pipeline = faultwrap versionnegotiation authurl authtoken context v1
[app:v1]
paste.app_factory = heat.common.wsgi:app_factory
heat.app_factory = heat.api.openstack.v1:API
[filter:versionnegotiation]
paste.filter_factory = heat.common.wsgi:filter_factory
heat.filter_factory = heat.api.openstack:version_negotiation_filter
[filter:faultwrap]
paste.filter_factory = heat.common.wsgi:filter_factory
heat.filter_factory = heat.api.openstack:faultwrap_filter
[filter:context]
paste.filter_factory = heat.common.context:ContextMiddleware_filter_factory
[filter:authurl]
paste.filter_factory = heat.common.auth_url:filter_factory
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
"""
CONFIGURATION = """
[DEFAULT]
transport_url = rabbit://guest:guest@127.0.0.1:5672/
auth_encryption_key = {key}
num_engine_workers = 2
region_name_for_services = RegionOne
log_file = {mounted}/heat-{{}}.log
[database]
connection = mysql+pymysql://root@localhost/heat?unix_socket=/proc/{pid}/root/run/mysql.sock
[heat_api]
bind_host = 127.0.0.1
bind_port = {port}
workers = 1
[paste_deploy]
api_paste_config = {mounted}/api-paste.ini
[clients_keystone]
auth_uri = {keystone}
[keystone_authtoken]
auth_url = {url}
www_authenticate_uri = {url}
{login}
project_name = service
project_domain_name = Default
[trustee]
auth_url = {url}
{login}
"""
LOGIN = "auth_type = password\nusername = svc\npassword = svc\nuser_domain_name = Default"


@contextmanager
def heat(lab: Lab, batch: int) -> Iterator[list[Case]]:
    """Start Heat's services, and yield its case. They end afterwards. Raises RuntimeError if they do not start."""
    files = _files(lab)
    files.mkdir()
    _write_files(files, lab.admin.config.get_auth_args()["auth_url"])
    _register(lab)
    database = "import pymysql; pymysql.connect(unix_socket='{}', user='root').cursor().execute('create database heat')"
    socket_file = f"/proc/{_pid()}/root/run/mysql.sock"
    subprocess.run(inside(files, ["/usr/bin/python3", "-c", database.format(socket_file)]), check=True)
    with (files / "manage.out").open("wb") as output:  # standard output has the table alone
        migrate = inside(files, [*_program("manage"), "db_sync"])
        subprocess.run(migrate, check=True, env=_environment(), stdout=output)
    engine = {**_environment(), "http_proxy": lab.proxy.url}  # what it asks of the others is counted
    services = [_start(files, "api", _environment()), _start(files, "engine", engine)]
    try:
        _wait_for_api()
        yield [_case(lab, batch)]
    except Exception:
        print(_ends_of_logs(files), file=sys.stderr)
        raise
    finally:
        for service in services:
            service.terminate()
        for service in services:
            service.wait()


def _start(files: Path, name: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with (files / f"{name}.out").open("wb") as output:
        return subprocess.Popen(
            inside(files, _program(name)),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _case(lab: Lab, batch: int) -> Case:
    def prepare(cloud: Any, size: int) -> Step:
        (_files(lab) / "template.json").write_text(json.dumps(template(size, batch)), encoding="utf-8")
        _stack(lab, "create", OLD, size).run(cloud)
        return _stack(lab, "update", NEW, size)

    return Case(name_of(batch), prepare)


def name_of(batch: int) -> str:
    """The name of Heat's case."""
    return f"Heat, ResourceGroup, rolling_update, batch {batch}"


def template(size: int, batch: int) -> dict[str, Any]:
    """A stack of servers. Heat launches the replacement of a resource before it deletes the old one."""
    server = {
        "image": {"get_param": "image"},
        "flavor": FLAVOR,
        "image_update_policy": "REPLACE",
        "networks": [{"allocate_network": "none"}],
        "user_data_format": "RAW",
    }
    group = {
        "type": "OS::Heat::ResourceGroup",
        "update_policy": {"rolling_update": {"max_batch_size": batch, "pause_time": 0}},
        "properties": {"count": size, "resource_def": {"type": "OS::Nova::Server", "properties": server}},
    }
    return {
        "heat_template_version": "2018-08-31",
        "parameters": {"image": {"type": "string"}},
        "resources": {"fleet": group},
    }


def _stack(lab: Lab, what: str, image: str, size: int) -> Step:
    """Create or update the stack, and wait for it."""
    files = _files(lab)
    options = ["--wait", "--parameter", f"image={lab.images[image]}"]  # looks every five seconds
    argv = ["openstack", "stack", what, *options, "--template", f"{MOUNTED}/template.json", STACK]
    auth = lab.admin.config.get_auth_args()
    user = dict.fromkeys(("OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME"), lab.project.name)
    place = {"OS_AUTH_URL": auth["auth_url"], "OS_REGION_NAME": "RegionOne", "OS_IDENTITY_API_VERSION": "3"}
    domains = {"OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default"}
    environment = {**_environment(), **user, **place, **domains, "http_proxy": lab.proxy.url}
    return command(inside(files, argv), files, environment, lambda _cloud: lab.running(image, size))


def _files(lab: Lab) -> Path:
    """Heat's configuration, logs and templates."""
    return lab.folder / "heat"


def _ends_of_logs(files: Path) -> str:
    """The last lines of what Heat wrote, since its files do not remain."""
    return "\n".join(
        f"--- {file.name}\n{file.read_text(encoding='utf-8', errors='replace')[-3000:]}"
        for file in sorted([*files.glob("*.out"), *files.glob("*.log")])
    )


def _write_files(files: Path, url: str) -> None:
    (files / "api-paste.ini").write_text(PASTE, encoding="utf-8")
    keystone, key = url.removesuffix("/v3"), secrets.token_hex(16)
    place = {"mounted": MOUNTED, "pid": _pid(), "port": PORT, "url": url, "keystone": keystone}
    text = CONFIGURATION.format(key=key, login=LOGIN, **place)
    for name in ("manage", "api", "engine"):
        (files / f"{name}.conf").write_text(text.format(name), encoding="utf-8")


def _program(name: str) -> list[str]:
    return python(f"heat.cmd.{name}", f"heat-{name}", "--config-file", f"{MOUNTED}/{name}.conf")


def _register(lab: Lab) -> None:
    """Put Heat into Keystone's catalog."""
    identity = lab.admin.identity
    service = identity.create_service(name="heat", type="orchestration")
    url = f"http://127.0.0.1:{PORT}/v1/%(project_id)s"
    for interface in ("public", "internal"):
        identity.create_endpoint(service_id=service.id, interface=interface, url=url, region_id="RegionOne")


def _wait_for_api() -> None:
    end = time.monotonic() + START
    while True:
        try:
            socket.create_connection(("127.0.0.1", PORT), timeout=1).close()
        except OSError as error:
            if time.monotonic() > end:
                raise RuntimeError("Heat's API does not answer") from error
            time.sleep(0.2)
        else:
            return


def _pid() -> str:
    """The first process of the control plane, through whose root its database is reached."""
    return (Path(os.environ["IMMUTABLE_OPENSTACK"]) / "pid").read_text(encoding="ascii").split()[0]


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root", "PYTHONWARNINGS": "ignore"}
