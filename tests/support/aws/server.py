# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""moto as an HTTP server in its own process, and the fake AWS that tests use: moto behind the proxy."""

from __future__ import annotations

import functools
import http.client
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.immutable.infra.plugins.plugin_utils._aws import clients
from ansible_collections.immutable.infra.plugins.plugin_utils._aws.clients import Account

from ..waiting import PATIENCE
from .faults import Effect, Fault, Faults, after, before, kill
from .proxy import Proxy
from .rules import layers
from .rules_instances import user_data_of
from .world import World

REGION = "eu-central-1"
# As long as real ones, because some tools check the length.
KEY, SECRET = "AKIAIMMUTABLEEXAMPLE", "immutable/infra/tests/only/0123456789abcd"
PROGRAM = Path(__file__).with_name("moto_program.py")


@dataclass(frozen=True)
class Moto:
    port: int
    pid: int


class Cloud:
    """moto and the proxy.

    Tests and playbooks talk to ``endpoint_url``. ``moto_url`` is moto itself, for seeding and inspection.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.proxy = Proxy(port)
        self.world = World(self.boto)
        self.faults = Faults()
        self.proxy.layers = [self.faults, *layers(self.world)]

    @property
    def endpoint_url(self) -> str:
        return self.proxy.url

    @property
    def moto_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """Return the AWS variables for this process or a child.

        They disable this machine's configuration files and metadata service.
        """
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def account(self, region: str = REGION) -> Account:
        return Account(region=region, endpoint_url=self.endpoint_url)

    def boto(self, service: str, region: str = REGION, proxied: bool = False) -> Any:
        """Return a plain boto3 client that tries each call once.

        By default it bypasses the proxy with its log and its rules.
        """
        return _plain(service, region, self.endpoint_url if proxied else self.moto_url)

    def calls(self, service: str = "", action: str = "", changing: bool | None = None) -> list[Any]:
        return self.proxy.calls(service, action, changing)

    def count(self, changing: bool | None = None, service: str = "", action: str = "") -> int:
        return self.proxy.count(changing, service, action)

    def set(self, **changes: Any) -> None:
        """Change settings, by their names in ``world.Settings``: ``cloud.set(launch=26, health=10)``."""
        self.world.set(**changes)

    def fault(
        self,
        effect: Effect,
        action: str = "",
        service: str = "",
        nth: int = 1,
        times: int = 1,
        changing: bool | None = None,
    ) -> Fault:
        """Apply an effect (see faults.py) to calls from now on.

        Args:
            nth: the first call that it applies to, counted among the matching calls.
            times: the number of matching calls from there that it applies to. 0 means all.
        """
        return self.faults.add(Fault(effect, action, service=service, nth=nth, times=times, changing=changing))

    def at_change(self, nth: int, callback: Callable[[], object], late: bool = False) -> Fault:
        """Call back just before the nth changing call from now, or just after its effect."""
        return self.fault(after(callback) if late else before(callback), nth=nth, changing=True)

    def kill_at_change(self, nth: int, pid: int, late: bool = False) -> Fault:
        """Kill the caller just before the effect of its nth changing call, or (``late``) between effect and answer."""
        return self.fault(kill(pid, late), nth=nth, changing=True)

    def lose(self, instance: str, region: str = REGION) -> None:
        """AWS takes a spot instance back."""
        self.world.lost.add(instance)
        self.boto("ec2", region).terminate_instances(InstanceIds=[instance])

    def user_data(self, instance: str, region: str = REGION) -> str:
        return user_data_of(self.boto("ec2", region), instance)

    def reset(self) -> None:
        """An empty account, no faults, no log, and clients that remember no throttling."""
        self.proxy.settle()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("POST", "/moto-api/reset")
        connection.getresponse().read()
        connection.close()
        self.proxy.forget()
        self.faults.clear()
        self.world.clear()
        forget_clients()

    def close(self) -> None:
        self.proxy.close()


def forget_clients() -> None:
    """Forget this process's clients, which keep the environment that they were created in."""
    clients._client.cache_clear()
    clients._session.cache_clear()


@functools.cache
def _plain(service: str, region: str, url: str) -> Any:
    import boto3
    import botocore.config

    settings = botocore.config.Config(retries={"total_max_attempts": 1, "mode": "standard"}, max_pool_connections=50)
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=settings,
    )


@contextmanager
def moto() -> Iterator[Moto]:
    """A new server on loopback. It ends with this process, even if the test is killed."""
    environment = {
        **os.environ,
        "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
        "MOTO_ENABLE_AMI_VALIDATION": "true",
    }
    # Isolated, because a module beside the program has the name of a library.
    command = [sys.executable, "-I", str(PROGRAM), str(os.getpid())]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.strip():
                raise RuntimeError("moto did not start: is moto[server] installed?")
            yield Moto(int(line), process.pid)
        finally:
            process.kill()


@contextmanager
def cloud() -> Iterator[Cloud]:
    with moto() as server:
        instance = Cloud(server.port)
        try:
            yield instance
        finally:
            instance.close()
