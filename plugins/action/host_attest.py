# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Takes the manifest from the store and sends it with the module: one round trip to each host."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ..plugin_utils._core.action import argument_spec
from ..plugin_utils._core.errors import ImageError, ImmutableError
from ..plugin_utils._images.catalogue import Catalogue
from ..plugin_utils._store.registry import open_store, store_location

NAME = "immutable.infra.host_attest"


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _checked, options = self.validate_argument_spec(argument_spec("host_attest"))
        try:
            if options["manifest"] is None:
                options["manifest"] = base64.b64encode(self._manifest(options, task_vars)).decode("ascii")
        except ImmutableError as error:
            return {**result, **error.details, "failed": True, "changed": False, "msg": error.message}
        result.update(self._execute_module(module_name=NAME, module_args=options, task_vars=task_vars))
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _manifest(self, options: Mapping[str, Any], task_vars: Mapping[str, Any]) -> bytes:
        host = task_vars.get("inventory_hostname", "this host")
        if task_vars.get("immutable_shell") == "off":
            raise ImmutableError(
                f"{host} lets nobody in (shell: off), so it cannot be compared from outside; its evidence is what it said on its console"
            )
        image = options["image"] or self._variable("immutable_image", task_vars)
        location = options["store"] or self._variable("immutable_store", task_vars)
        missing = [name for name, value in (("image", image), ("store", location)) if not value]
        if missing:
            names = " and ".join(missing)
            raise ImmutableError(
                f"{NAME} needs {names}: give the option, or list {host} by the inventory immutable.infra.fleet, which tells it"
            )
        build = options["build"] or (None if options["image"] else self._variable("immutable_build", task_vars))
        store = open_store(store_location(Path(self._loader.get_basedir()), location))
        key = (
            f"images/{image.removeprefix('sha256:')}/{build}"
            if build and image.startswith("sha256:")
            else Catalogue(store).find(image).key
        )
        manifest = store.read_blob(f"{key}/manifest.json.gz")
        if manifest is None and "/aws-" in key:
            raise ImageError(
                f"{host} runs an AMI, whose disk nobody can read from outside: it has no manifest to compare the host with"
            )
        if manifest is None:
            raise ImageError(
                f"the store {store.location} has no manifest of image {image}, which {host} runs; bake it again"
            )
        return manifest

    def _variable(self, name: str, task_vars: Mapping[str, Any]) -> str | None:
        value = self._templar.template(task_vars.get(name))
        return str(value) if value else None
