# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A test's project as a user has it: a cloud in a ``clouds.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.cloud import Cloud
from ansible_collections.immutable.infra.plugins.plugin_utils._openstack.connect import Connections

from .projects import DOMAINS, Project

REGION = "RegionOne"


def cloud_of(project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Connections:
    """The cloud of the project, which the environment of the test configures from now on."""
    return clouds_of([project], folder, monkeypatch)[0]


def clouds_of(projects: Sequence[Project], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Connections]:
    """The clouds of some projects, whose names are those of the projects."""
    file = folder / "clouds.yaml"
    file.write_text(yaml.safe_dump({"clouds": {project.name: _configured(project) for project in projects}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    return [Connections(Cloud(project.name)) for project in projects]


def _configured(project: Project) -> dict[str, Any]:
    who = {"username": project.name, "password": project.name, "project_name": project.name}
    auth = {"auth_url": project.admin.config.get_auth_args()["auth_url"], **who, **DOMAINS}
    return {"auth": auth, "region_name": REGION}
