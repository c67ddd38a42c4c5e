# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two ways to run properties: the same examples each time by default, and a wide random search by ``--hypothesis-profile=search``."""
from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=300, print_blob=True, suppress_health_check=list(HealthCheck))
settings.register_profile("search", deadline=None, max_examples=2000, database=None, print_blob=True, suppress_health_check=list(HealthCheck))
settings.load_profile("fixed")
