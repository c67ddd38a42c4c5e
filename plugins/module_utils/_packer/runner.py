# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the ``packer`` binary under supervision and redacts its output."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .._bounded import MAX_MESSAGE, shortened
from .._plain_text import plain_line
from .._supervised import Supervised
from . import flags, inspection
from .build_names import build_renamer
from .calls import Call
from .diagnostics import Diagnostic, diagnostics
from .environment import packer_environment
from .errors import PackerError
from .events import Event, Raw, Ui, parse_line
from .local_names import used_sources
from .log import PackerLog
from .plugins import PLUGINS_SINCE, install_command, requirements_in_errors
from .result import BuildResult, Collector, last_lines
from .sensitive import sensitive_variables
from .template_files import check_template
from .variables import PassedVariables, is_hcl2, pass_variables

GRACE = 120.0  # seconds for Packer to clean up, which may take calls of a cloud
INSTALL = (
    "install it (Debian: apt install packer; others: https://developer.hashicorp.com/packer/install)"
    " or name it with 'executable'"
)
_VERSION_TIMEOUT = 60.0


@dataclass(frozen=True)
class Validation:
    """The result of ``packer validate``. ``output`` is a list of lines."""

    valid: bool
    diagnostics: list[Diagnostic]
    output: list[str]
    command: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data (JSON types) for a task's result."""
        return asdict(self)


class Packer:
    """The ``packer`` binary.

    Args:
        executable: its path or name, by default ``packer`` on the search path.
        run: what runs it; called like ``Supervised``.
        watch_output: True in modules, see ``Supervised``.
        variables: whether builds and validations take variables from the caller's environment (``PKR_VAR_name``).
    """

    def __init__(
        self,
        executable: str | None = None,
        run: Callable[..., Supervised] = Supervised,
        *,
        watch_output: bool = False,
        variables: bool = False,
    ) -> None:
        self._name = executable or "packer"
        self._run = run
        self._watch_output = watch_output
        self._variables = variables
        self._version = ""

    @property
    def executable(self) -> str:
        """The absolute path of the binary. Raises PackerError with how to install it if there is none."""
        found = shutil.which(os.path.expanduser(self._name))
        if not found:
            raise PackerError(f"{self._name} was not found or cannot be executed: {INSTALL}")
        return os.path.abspath(found)

    def version(self) -> str:
        """Return the version, such as ``1.6.6``. Calls Packer once. Raises PackerError."""
        if not self._version:
            environment = packer_environment("version", variables=False)
            try:
                # This code has no AnsibleModule, so it cannot call run_command.
                output = subprocess.run(  # pylint: disable=ansible-bad-function
                    [self.executable, "version"],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    timeout=_VERSION_TIMEOUT,
                    check=False,
                ).stdout.decode("utf-8", "replace")
            except (OSError, subprocess.TimeoutExpired) as error:
                raise PackerError(f"cannot run '{self.executable} version': {error}") from error
            found = re.search(r"^Packer v(\d+\.\d+\.\d+\S*)", output, re.MULTILINE)
            if not found:
                # Such as a PACKER_CONFIG that does not exist.
                printed = f" (it printed: {shortened(plain_line(output.strip()))})" if output.strip() else ""
                raise PackerError(
                    f"{self.executable} is not HashiCorp's Packer or cannot run:"
                    f" it does not report a version{printed}; {INSTALL}"
                )
            self._version = found.group(1)
        return self._version

    def build(
        self,
        template: str | os.PathLike[str],
        *,
        vars: Mapping[str, Any] | None = None,
        var_files: Sequence[str | os.PathLike[str]] = (),
        only: Sequence[str] = (),
        except_: Sequence[str] = (),
        on_error: str | None = None,
        parallel_builds: int | None = None,
        force: bool = False,
        secrets: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
        redact: Sequence[str] = (),
        on_event: Callable[[Event], None] | None = None,
        log_path: Path | None = None,
        cwd: str | os.PathLike[str] | None = None,
        remove: Sequence[str | os.PathLike[str]] = (),
        hold: Sequence[int] = (),
    ) -> BuildResult:
        """Run ``packer build``.

        Args:
            template: file or folder, HCL2 or JSON.
            vars: plain variables. They override those in ``var_files``.
            on_error: cleanup, abort or run-cleanup-provisioner.
            secrets: variables that must not be in an argument, log or result.
            environment: added to the caller's own. Values of names such as ``AWS_SECRET_ACCESS_KEY`` are redacted.
            timeout: seconds after which Packer is stopped and cleans up.
            redact: further values to redact.
            on_event: called with each event, redacted, as it happens.
            log_path: file for each line, redacted, as it happens. Only this user can read it.
            cwd: Packer's folder, by default the template's.
            remove: folders to remove after Packer has ended, even if the caller was killed before.
            hold: descriptors that stay open until then, see ``Supervised``.

        Raises PackerError if a build failed. Its ``details`` contain ``BuildResult.as_dict()`` so far.
        """
        call = Call(
            command="build",
            template=os.fspath(template),
            options={
                "only": list(only),
                "except_": list(except_),
                "on_error": on_error,
                "parallel_builds": parallel_builds,
                "force": force,
            },
            vars=vars or {},
            var_files=var_files,
            secrets=secrets or {},
            environment=environment or {},
            redact=redact,
            cwd=os.fspath(cwd or ""),
            timeout=timeout,
            remove=[os.path.abspath(folder) for folder in remove],
            hold=hold,
        )
        return self._build(self._prepare(call), on_event, log_path)

    def _build(self, call: Call, on_event: Callable[[Event], None] | None, log_path: Path | None) -> BuildResult:
        """Run a prepared call. Raises PackerError unless every build succeeded."""
        collector = Collector(call.cwd, build_renamer(call.template))
        started = time.monotonic()
        # Closed immediately if a listener raises, so that Packer ends.
        with PackerLog(log_path) as log, contextlib.closing(self._events(call)) as events:
            for event in events:
                log.write(event)
                collector.add(event)
                if on_event:
                    on_event(event)
        result = collector.result
        result.returncode, result.command, result.packer_version = call.returncode, call.shown, self.version()
        result.duration = round(time.monotonic() - started, 3)
        _raise_for_failure(call, result)
        return result

    def validate(
        self,
        template: str | os.PathLike[str],
        *,
        vars: Mapping[str, Any] | None = None,
        var_files: Sequence[str | os.PathLike[str]] = (),
        only: Sequence[str] = (),
        except_: Sequence[str] = (),
        syntax_only: bool = False,
        secrets: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
        redact: Sequence[str] = (),
        cwd: str | os.PathLike[str] | None = None,
    ) -> Validation:
        """Run ``packer validate``. See ``build`` for the arguments. An invalid template is a result, not an error.

        Raises PackerError if Packer cannot run or is stopped.
        """
        options = {"only": list(only), "except_": list(except_), "syntax_only": syntax_only}
        call = self._prepare(
            Call(
                command="validate",
                template=os.fspath(template),
                options=options,
                vars=vars or {},
                var_files=var_files,
                secrets=secrets or {},
                environment=environment or {},
                redact=redact,
                cwd=os.fspath(cwd or ""),
                timeout=timeout,
            )
        )
        events = list(self._events(call))
        if call.stopped_for:
            raise PackerError(f"packer validate was stopped: {call.stop_reason()}")
        lines = last_lines()
        for event in events:
            if isinstance(event, (Ui, Raw)):
                lines.add(event.text.strip("\n").split("\n"))
        output = list(lines)
        found = diagnostics(events, call.template)
        if call.returncode and not found:
            summary = shortened("\n".join(output), MAX_MESSAGE) or f"exit code {call.returncode}"
            found = [Diagnostic(severity="error", summary=summary, detail="", file="", line=0)]
        return Validation(call.returncode == 0, found, output, call.shown)

    def inspect(
        self,
        template: str | os.PathLike[str],
        *,
        timeout: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> inspection.Inspection:
        """Run ``packer inspect``.

        Returns the template's variables and builds. Raises PackerError if it cannot be parsed.
        """
        call = self._prepare(Call("inspect", os.fspath(template), environment=environment or {}, timeout=timeout))
        events = list(self._events(call))
        if call.returncode or call.stopped_for:
            output = "\n".join(event.text.strip() for event in events if isinstance(event, (Ui, Raw)))
            raise PackerError(f"packer inspect failed: {call.stop_reason() if call.stopped_for else output}")
        return inspection.parse_inspection(events, sensitive_variables(call.template), used_sources(call.template))

    def run_command(
        self, *arguments: str, environment: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> tuple[int, list[str]]:
        """Run any other command of Packer. Returns its exit code and its output lines. Raises PackerError."""
        call = Call(arguments[0], "", environment=environment or {}, cwd=os.getcwd(), timeout=timeout)
        try:
            with self._start([self.executable, *arguments], call, PassedVariables()) as process:
                lines = list(process.lines(timeout))
                returncode, call.stopped_for = process.wait(), process.stopped_for
        except OSError as error:
            raise PackerError(f"cannot run {self.executable}: {error}") from error
        if call.stopped_for:
            raise PackerError(
                f"packer {' '.join(arguments)} was stopped: {call.stop_reason()}", stopped_for=call.stopped_for
            )
        return returncode, lines

    def _prepare(self, call: Call) -> Call:
        """The call with absolute paths.

        Raises PackerError for a file that does not exist, or HCL2 with an old Packer.
        """
        path = os.path.abspath(os.path.join(call.cwd, call.template))
        check_template(path)
        if is_hcl2(path) and flags.version_tuple(self.version()) < flags.HCL2_SINCE:
            raise PackerError(f"HCL2 templates and folders need Packer 1.5.0 or later; this is {self.version()}")
        folder = os.path.abspath(call.cwd or (path if os.path.isdir(path) else os.path.dirname(path)))
        files = [os.path.join(folder, file) for file in call.var_files]
        for file in files:
            if not os.path.isfile(file):
                raise PackerError(f"the variable file {file} does not exist")
        return replace(call, template=path, var_files=files, cwd=folder)

    def _events(self, call: Call) -> Generator[Event, None, None]:
        """Run the call and yield its events, redacted.

        Sets ``returncode`` and ``stopped_for`` of the call at the end.
        """
        executable = self.executable
        arguments = [
            *flags.arguments(call.command, call.options, self.version()),
            *(f"-var-file={file}" for file in call.var_files),
        ]
        passed = pass_variables(call.template, call.vars, call.secrets)
        redactor = call.redactor()
        # Packer 1.6 masks the default of a sensitive variable in its output for users, but not in the machine-readable
        # one.
        output_format = [] if call.command == "inspect" and is_hcl2(call.template) else ["-machine-readable"]
        argv = [executable, call.command, *output_format, *arguments, *passed.arguments, call.template]
        call.shown = [
            redactor.text("-var-file=(vars)" if argument in passed.arguments else argument) for argument in argv
        ]
        try:
            with self._start(argv, call, passed) as process:
                for line in process.lines(call.timeout):
                    event = parse_line(line)
                    if event:
                        yield redactor.event(event)
                call.returncode, call.stopped_for = process.wait(), process.stopped_for
        # ValueError: a value contains NUL, or a name cannot be in the environment.
        except (OSError, ValueError) as error:
            raise PackerError(f"cannot run {executable}: {error}") from error
        finally:  # usually the supervisor has removed it already
            if passed.folder:
                shutil.rmtree(passed.folder, ignore_errors=True)

    def _start(self, argv: list[str], call: Call, passed: PassedVariables) -> Supervised:
        environment = packer_environment(
            call.command,
            call.environment,
            passed.environment,
            variables=self._variables and call.command in ("build", "validate"),
        )
        folders = [*call.remove, *([passed.folder] if passed.folder else [])]
        return self._run(
            argv,
            env=environment,
            cwd=call.cwd,
            grace=GRACE,
            remove=folders,
            hold=call.hold,
            watch_output=self._watch_output,
        )


def _raise_for_failure(call: Call, result: BuildResult) -> None:
    """Raise PackerError unless every build succeeded."""
    details = result.as_dict()
    if call.stopped_for:
        last = f"; its last line: {result.last_line}" if result.last_line else ""
        raise PackerError(
            f"packer build was stopped: {call.stop_reason()}{last}", stopped_for=call.stopped_for, **details
        )
    if result.cancelled:
        raise PackerError(
            f"packer build was cancelled by a signal; its last line: {result.last_line}",
            stopped_for="signal",
            **details,
        )
    # For a name that matches no build some versions of Packer succeed, others fail with this error.
    if not result.builds and (not result.failed or "No builds to run" in result.last_error):
        raise PackerError("nothing was built: 'only' and 'except' leave no build of the template", **details)
    if result.failed:
        missing = [
            f"{requirement.reason}: {install_command(requirement) or 'not a known plugin'}"
            for requirement in requirements_in_errors("\n".join(result.output))
        ]
        if missing and flags.version_tuple(result.packer_version) >= PLUGINS_SINCE:
            raise PackerError(
                f"plugins are missing ({'; '.join(missing)}); install them with the module immutable.infra.packer_init",
                **details,
            )
        raise PackerError(f"{result.reason} (packer build failed)", **details)
