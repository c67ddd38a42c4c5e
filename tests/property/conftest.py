# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Profiles of Hypothesis for properties.

``fixed``, the default, runs the same examples each time. ``search`` is a random search, ``soak`` a long one.
"""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.tests.support import trial
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import engine

engine.MAX_SHRINKING_SECONDS = 60  # shrinking a whole history is slow, and most of the gain comes early
_COMMON = {"deadline": None, "print_blob": True, "suppress_health_check": list(HealthCheck)}
settings.register_profile("fixed", derandomize=True, max_examples=200, **_COMMON)
settings.register_profile("search", max_examples=2000, database=None, **_COMMON)
settings.register_profile("soak", max_examples=250, database=None, **_COMMON)
settings.load_profile("fixed")


WORKER_OUTPUT = "histories"


def pytest_sessionfinish(session):
    """Send the count of a worker of pytest-xdist to the main process."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[WORKER_OUTPUT] = trial.PLAYED[0]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    trial.PLAYED[0] += getattr(node, "workeroutput", {}).get(WORKER_OUTPUT, 0)


def pytest_terminal_summary(terminalreporter):
    if trial.PLAYED[0]:
        terminalreporter.write_line(f"{trial.PLAYED[0]} histories of fleets were run")
