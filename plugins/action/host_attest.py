# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compare a host with its image.

A machine compares itself: the manifest of its image travels with the module, so each takes one round trip. A container
is compared from outside.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ..plugin_utils._core.action import (
    argument_spec,
    end_with_parent,
    result_for_screen,
    store_at,
    with_host_summary,
)
from ..plugin_utils._core.errors import ImmutableError
from ..plugin_utils._hosts.attest import (
    ContainerAddress,
    attest_container,
    drift_message,
    manifest_of,
    result_of_host,
)

NAME = "immutable.infra.host_attest"


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        host = str(task_vars.get("inventory_hostname", "this host"))
        return with_host_summary(self._attested(result, task_vars), host)

    def _attested(self, result: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        _checked, options = self.validate_argument_spec(argument_spec("host_attest"))
        try:
            if task_vars.get("immutable_container"):
                return {**result, **self._from_outside(options, task_vars)}
            if options["manifest"] is None:
                options["manifest"] = base64.b64encode(self._manifest(options, task_vars)).decode("ascii")
        except ImmutableError as error:
            return {**result, **error.as_failure()}
        returned = self._execute_module(module_name=NAME, module_args=options, task_vars=task_vars)
        self._remove_tmp_path(self._connection._shell.tmpdir)
        host = str(task_vars.get("inventory_hostname", "this host"))
        return result_for_screen({**result, **result_of_host(returned, host, options["limit"])})

    def _from_outside(self, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Compare a container of this machine, in which nothing has to run."""
        end_with_parent()
        image, location, build = self._image(options, task_vars)
        store = store_at(Path(self._loader.get_basedir()), location)
        host = task_vars.get("inventory_hostname", "this host")
        address = ContainerAddress(
            engine=self._variable("immutable_container_engine", task_vars) or "",
            folder=self._variable("immutable_container_folder", task_vars) or "",
            name=self._variable("immutable_container", task_vars) or "",
        )
        found = attest_container(
            address,
            manifest_of(store, image, build, host),
            store,
            image=image,
            build=build or "",
            limit=options["limit"],
        )
        if found["count"] and options["fail_on_drift"]:
            return result_for_screen({**found, "failed": True, "msg": drift_message(found, host)})
        return found

    def _manifest(self, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> bytes:
        host = task_vars.get("inventory_hostname", "this host")
        if task_vars.get("immutable_shell") == "off":
            raise ImmutableError(
                f"{host} does not allow logins (shell: off), and only containers are compared from outside; "
                "its only evidence is the line on its console"
            )
        image, location, build = self._image(options, task_vars)
        return manifest_of(store_at(Path(self._loader.get_basedir()), location), image, build, host)

    def _image(self, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> tuple[str, str, str | None]:
        """The host's image, the location of the store that has its manifest, and its build if that is known."""
        host = task_vars.get("inventory_hostname", "this host")
        image = options["image"] or self._variable("immutable_image", task_vars)
        location = options["store"] or self._variable("immutable_store", task_vars)
        if not image or not location:
            missing = [name for name, value in (("image", image), ("store", location)) if not value]
            raise ImmutableError(
                f"{NAME} needs {' and '.join(missing)}: set the option, or list {host} with the inventory plugin "
                "immutable.infra.fleet, which sets it"
            )
        build = options["build"] or (None if options["image"] else self._variable("immutable_build", task_vars))
        return image, location, build

    def _variable(self, name: str, task_vars: Mapping[str, Any]) -> str | None:
        value = self._templar.template(task_vars.get(name))
        return str(value) if value else None
