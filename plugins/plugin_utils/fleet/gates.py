from __future__ import annotations
from collections.abc import Sequence
from typing import Protocol
from ..definition.model import Metric
from ..providers.base import Instance
from .model import Intent
from .outcome import Gate
class Gates(Protocol):
    def play(self, gate: Gate, intent: Intent, instances: Sequence[Instance]) -> None: ...
    def read(self, metric: Metric) -> str: ...
class OpenGates:
    def play(self, gate: Gate, intent: Intent, instances: Sequence[Instance]) -> None: ...
    def read(self, metric: Metric) -> str:
        return ""
class Watch:
    def __init__(self, gates: Gates) -> None:
        self._gates = gates
        self._at: dict[Metric, float] = {}
    def look(self, metric: Metric, now: float) -> str:
        if now - self._at.get(metric, -1e18) < metric.every: return ""
        self._at[metric] = now
        return self._gates.read(metric)
