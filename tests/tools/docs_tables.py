#!/usr/bin/env python3
"""Write the tables in the docs that are generated from the code."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.immutable.infra.tests.support.crashes import within

DOCS = Path(__file__).resolve().parents[2] / "docs/explanation/testing.md"
DOCS.write_text(within(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
