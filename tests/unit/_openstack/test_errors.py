# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""OpenStack's errors as errors of this project, with the real openstacksdk. No cloud is needed."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import ProviderError, TrafficError
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.cloud import Cloud
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.connect import Connections
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.errors import openstack_errors
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.rest import Rest

exceptions = pytest.importorskip("openstack").exceptions


@pytest.mark.parametrize(
    ("status", "words", "permanent"),
    [
        (401, "The request you have made requires authentication.", True),
        (403, "Policy doesn't allow os_compute_api:servers:create to be performed.", True),
        (403, "Quota exceeded for cores: Requested 8, but already used 20 of 20 cores", False),
        (403, "Maximum number of metadata items exceeds 128", False),
        (409, "Cannot 'stop' instance while it is in vm_state stopped", False),
        (503, "The server is currently unavailable.", False),
    ],
)
def test_an_error_has_the_services_words_its_status_and_whether_it_stays(
    status: int, words: str, permanent: bool
) -> None:
    with pytest.raises(ProviderError) as raised, openstack_errors(doing="launching shop-live-0"):
        raise exceptions.HttpException("Error", http_status=status, details=words)
    assert raised.value.message == f"launching shop-live-0: OpenStack: {words} ({status})"
    assert (raised.value.code, raised.value.permanent) == (str(status), permanent)


def test_another_type_of_error_can_be_asked_for_and_long_texts_are_cut() -> None:
    with pytest.raises(TrafficError) as raised, openstack_errors(TrafficError):
        raise exceptions.HttpException("Error", details="x\n" * 5000)
    assert len(raised.value.message) < 600


def test_a_cloud_that_no_file_describes_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: {}\n", encoding="utf-8")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    with pytest.raises(ProviderError, match="reading the configuration of the cloud: OpenStack: .*nowhere"):
        Connections(Cloud("nowhere")).region  # noqa: B018  reading it is the test


def test_a_cloud_that_does_not_answer_is_one_clear_error_without_the_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nothing listens here
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v3"
        auth = f"{{auth_url: '{url}', username: u, password: hidden, project_name: p, user_domain_name: d}}"
        text = f"clouds: {{silent: {{auth: {auth}, region_name: r}}}}\n"
        (tmp_path / "clouds.yaml").write_text(text, encoding="utf-8")
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
        with pytest.raises(ProviderError, match="reading servers: OpenStack: ") as raised:
            Rest(Connections(Cloud("silent")), "compute").pages("/servers/detail", "servers", "reading servers")
    assert "hidden" not in str(raised.value.as_failure())
    assert not raised.value.permanent


def test_a_missing_openstacksdk_is_reported_with_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openstack", None)
    with pytest.raises(ProviderError, match="pip install openstacksdk"):
        Connections(Cloud("missing")).region  # noqa: B018  reading it is the test
