# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run the ``packer`` binary: supervised, its output typed and redacted as it comes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO, final

from .._supervised import Supervised
from . import flags, inspection
from .build_names import renaming
from .diagnostics import Diagnostic, diagnostics
from .errors import PackerError
from .events import Event, Raw, Ui, parse_line
from .plugins import PLUGINS_SINCE, command_for, of_complaints
from .redact import Redactor
from .result import BuildResult, Collector
from .sensitive import sensitive_variables
from .variables import Handover, as_text, hand_over, is_hcl2

GRACE = 120.0  # seconds for cleaning up in a cloud
INSTALL = "install it (Debian: apt install packer; others: https://developer.hashicorp.com/packer/install) or name it with 'executable'"
_VERSION_TIMEOUT = 60.0
_SECRET_NAME = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)


@dataclass(frozen=True)
class Validation:
    """Outcome of ``packer validate``. ``output`` is what it said, a line each."""

    valid: bool
    diagnostics: list[Diagnostic]
    output: list[str]
    command: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain data (JSON types) for a task's result."""
        return asdict(self)


@dataclass
class _Job:
    """One call of Packer."""

    command: str
    template: str
    options: Mapping[str, Any]
    vars: Mapping[str, Any] = field(default_factory=dict)
    var_files: Sequence[str | os.PathLike[str]] = ()
    secrets: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    redact: Sequence[str] = ()
    cwd: str = ""
    timeout: float | None = None
    remove: Sequence[str] = ()
    hold: Sequence[int] = ()
    returncode: int = 0
    stopped_for: str = ""
    shown: list[str] = field(default_factory=list)

    def redactor(self) -> Redactor:
        of_environment = [value for name, value in self.environment.items() if _SECRET_NAME.search(name)]
        return Redactor([*_texts(self.secrets), *of_environment, *self.redact])


class Packer:
    """The ``packer`` binary.

    Args:
        executable: its path or name, by default ``packer`` on the search path.
        run: what runs it; called like ``Supervised``.
        watch_output: True in modules, see ``Supervised``.
    """

    def __init__(
        self, executable: str | None = None, run: Callable[..., Supervised] = Supervised, watch_output: bool = False
    ) -> None:
        self._name = executable or "packer"
        self._run = run
        self._watch_output = watch_output
        self._version = ""

    @property
    def executable(self) -> str:
        """Its absolute path. Raises PackerError, saying how to install it, where there is none."""
        found = shutil.which(os.path.expanduser(self._name))
        if not found:
            raise PackerError(f"{self._name} was not found or cannot be executed: {INSTALL}")
        return os.path.abspath(found)

    def version(self) -> str:
        """Such as ``1.6.6``; asked for once. Raises PackerError."""
        if not self._version:
            environment = {**os.environ, **flags.ENVIRONMENT}
            try:
                answer = subprocess.run(
                    [self.executable, "version"],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=_VERSION_TIMEOUT,
                    check=False,
                ).stdout.decode("utf-8", "replace")
            except (OSError, subprocess.TimeoutExpired) as error:
                raise PackerError(f"{self.executable} does not answer 'version': {error}") from error
            found = re.search(r"^Packer v(\d+\.\d+\.\d+\S*)", answer, re.MULTILINE)
            if not found:
                raise PackerError(
                    f"{self.executable} is not HashiCorp's Packer: it does not tell its version; {INSTALL}"
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
        """``packer build``.

        Args:
            template: file or folder, HCL2 or JSON.
            vars: plain variables; they come after ``var_files`` and win.
            on_error: cleanup or abort.
            secrets: variables that no argument, log or result may show.
            environment: added to the caller's own. Values of names such as ``AWS_SECRET_ACCESS_KEY`` are redacted.
            timeout: seconds, after which Packer is stopped and cleans up.
            redact: further values to keep out of everything.
            on_event: told every event, redacted, as it happens.
            log_path: file (made for this user alone) for every line, redacted, as it happens.
            cwd: Packer's folder, by default the template's.
            remove: folders that are removed once Packer has ended, even where the caller was killed before.
            hold: descriptors that stay open until then, see ``Supervised``.

        Raises:
            PackerError: where not every build succeeded; ``details`` is ``BuildResult.as_dict()`` as far as it got.
        """
        options = {
            "only": list(only),
            "except_": list(except_),
            "on_error": on_error,
            "parallel_builds": parallel_builds,
            "force": force,
        }
        job = self._job("build", template, options, vars, var_files, secrets, environment, redact, cwd, timeout)
        job.remove, job.hold = [os.path.abspath(folder) for folder in remove], hold
        collector = Collector(job.cwd, renaming(job.template))
        started = time.monotonic()
        # Closed at once when a listener raises, so that Packer ends with it.
        with _Log(log_path) as log, contextlib.closing(self._events(job)) as events:
            for event in events:
                log.write(event)
                collector.take(event)
                if on_event:
                    on_event(event)
        result = collector.result
        result.returncode, result.command, result.packer_version = job.returncode, job.shown, self.version()
        result.duration = round(time.monotonic() - started, 3)
        _refuse(job, result)
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
        """``packer validate``; arguments as with ``build``. A template that is wrong is an answer, not an error."""
        options = {"only": list(only), "except_": list(except_), "syntax_only": syntax_only}
        job = self._job("validate", template, options, vars, var_files, secrets, environment, redact, cwd, timeout)
        events = list(self._events(job))
        if job.stopped_for:
            raise PackerError(f"packer validate was stopped: {_stopped(job)}")
        output = [
            line for event in events if isinstance(event, (Ui, Raw)) for line in event.text.strip("\n").split("\n")
        ]
        found = diagnostics(events, job.template)
        if job.returncode and not found:
            found = [Diagnostic("error", "\n".join(output) or f"exit code {job.returncode}", "", "", 0)]
        return Validation(job.returncode == 0, found, output, job.shown)

    def inspect(
        self,
        template: str | os.PathLike[str],
        *,
        timeout: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> inspection.Inspection:
        """``packer inspect``: a template's variables and builds. Raises PackerError where the template does not parse."""
        job = self._job("inspect", template, {}, None, (), None, environment, (), None, timeout)
        events = list(self._events(job))
        if job.returncode or job.stopped_for:
            said = "\n".join(event.text.strip() for event in events if isinstance(event, (Ui, Raw)))
            raise PackerError(f"packer inspect failed: {_stopped(job) if job.stopped_for else said}")
        return inspection.read(events, sensitive_variables(job.template))

    def tell(
        self, *arguments: str, environment: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> tuple[int, list[str]]:
        """Any other of Packer's commands: its exit code and what it said, a line each, without protocol. Raises PackerError."""
        job = _Job(" ".join(arguments), "", {}, environment=environment or {}, cwd=os.getcwd(), timeout=timeout)
        try:
            with self._start([self.executable, *arguments], job, Handover()) as process:
                lines = list(process.lines(timeout))
                returncode, job.stopped_for = process.wait(), process.stopped_for
        except OSError as error:
            raise PackerError(f"cannot run {self.executable}: {error}") from error
        if job.stopped_for:
            raise PackerError(f"packer {job.command} was stopped: {_stopped(job)}", stopped_for=job.stopped_for)
        return returncode, lines

    def _job(
        self,
        command: str,
        template: str | os.PathLike[str],
        options: Mapping[str, Any],
        variables: Mapping[str, Any] | None,
        var_files: Sequence[str | os.PathLike[str]],
        secrets: Mapping[str, Any] | None,
        environment: Mapping[str, str] | None,
        redact: Sequence[str],
        cwd: str | os.PathLike[str] | None,
        timeout: float | None,
    ) -> _Job:
        path = os.path.abspath(os.path.join(cwd or "", template))
        if not os.path.exists(path):
            raise PackerError(f"there is no template {path}")
        if is_hcl2(path) and flags.version_tuple(self.version()) < flags.HCL2_SINCE:
            raise PackerError(f"HCL2 templates and folders need Packer 1.5.0 or later; this is {self.version()}")
        folder = os.path.abspath(cwd or (path if os.path.isdir(path) else os.path.dirname(path)))
        files = [os.path.join(folder, file) for file in var_files]
        for file in files:
            if not os.path.isfile(file):
                raise PackerError(f"there is no variable file {file}")
        return _Job(
            command, path, options, variables or {}, files, secrets or {}, environment or {}, redact, folder, timeout
        )

    def _events(self, job: _Job) -> Generator[Event, None, None]:
        """Everything Packer says, redacted; afterwards ``job.returncode`` and ``job.stopped_for`` are set."""
        executable = self.executable
        arguments = [
            *flags.arguments(job.command, job.options, self.version()),
            *(f"-var-file={file}" for file in job.var_files),
        ]
        redactor = job.redactor()
        handover = hand_over(job.template, job.vars, job.secrets)
        # Packer 1.6 masks a sensitive variable's default in what it tells people, but not in what it tells machines.
        form = [] if job.command == "inspect" and is_hcl2(job.template) else ["-machine-readable"]
        argv = [executable, job.command, *form, *arguments, *handover.arguments, job.template]
        job.shown = [
            redactor.text("-var-file=(vars)" if argument in handover.arguments else argument) for argument in argv
        ]
        try:
            with self._start(argv, job, handover) as process:
                for line in process.lines(job.timeout):
                    event = parse_line(line)
                    if event:
                        yield redactor.event(event)
                job.returncode, job.stopped_for = process.wait(), process.stopped_for
        except (
            OSError,
            ValueError,
        ) as error:  # ValueError: a NUL in a value, or a name that the environment cannot hold
            raise PackerError(f"cannot run {executable}: {error}") from error
        finally:  # the supervisor has done so already, if it ever started
            if handover.folder:
                shutil.rmtree(handover.folder, ignore_errors=True)

    def _start(self, argv: list[str], job: _Job, handover: Handover) -> Supervised:
        environment = {**os.environ, **flags.ENVIRONMENT, **job.environment, **handover.environment}
        folders = [*job.remove, *([handover.folder] if handover.folder else [])]
        return self._run(
            argv,
            env=environment,
            cwd=job.cwd,
            grace=GRACE,
            remove=folders,
            hold=job.hold,
            watch_output=self._watch_output,
        )


@final
class _Log:
    """A file that gets every line as it comes; nothing where no path is given. Raises PackerError where it cannot be written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> _Log:
        if self._path:
            try:
                self._file = open(
                    os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
                    "w",
                    encoding="utf-8",
                    buffering=1,
                )
            except OSError as error:
                raise self._unwritable(error) from error
        return self

    def __exit__(self, *_ignored: object) -> None:
        if self._file:
            self._file.close()

    def write(self, event: Event) -> None:
        if self._file and isinstance(event, (Ui, Raw)):
            try:
                self._file.write(event.text.strip("\n") + "\n")
            except OSError as error:
                raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> PackerError:
        return PackerError(f"cannot write Packer's log {self._path}: {error.strerror}")


def _refuse(job: _Job, result: BuildResult) -> None:
    details = result.as_dict()
    if job.stopped_for:
        last = f"; its last words: {result.last_words}" if result.last_words else ""
        raise PackerError(f"packer build was stopped: {_stopped(job)}{last}", stopped_for=job.stopped_for, **details)
    if result.cancelled:
        raise PackerError(
            f"packer build was cancelled by a signal; its last words: {result.last_words}",
            stopped_for="signal",
            **details,
        )
    # What versions make of a name that no build has: success, or this error.
    if not result.builds and (not result.failed or "No builds to run" in result.last_error):
        raise PackerError("nothing was built: the template has no build that 'only' and 'except' leave", **details)
    if result.failed:
        needs = [
            f"{need.reason}: {command_for(need) or 'a plugin that is not known here'}"
            for need in of_complaints("\n".join(result.output))
        ]
        if needs and flags.version_tuple(result.packer_version) >= PLUGINS_SINCE:
            raise PackerError(
                f"plugins are missing ({'; '.join(needs)}); the module immutable.infra.packer_init installs them",
                **details,
            )
        raise PackerError(f"{result.reason} (packer build failed)", **details)


def _stopped(job: _Job) -> str:
    if job.stopped_for == "timeout":
        return f"its timeout of {job.timeout:g} s was over"
    return "the process that waited for it is gone"


def _texts(value: Any) -> Iterator[str]:
    """Every single text in a secret, and the whole as Packer gets it."""
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, (list, tuple)):
        yield as_text(value)
        for part in value:
            yield from _texts(part)
    elif value is not None and not isinstance(value, bool):
        yield as_text(value)
