# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A bucket of moto's, behind the proxy that can lose answers."""
from ansible_collections.immutable.infra.tests.support.aws.bucket import bucket  # noqa: F401
from ansible_collections.immutable.infra.tests.support.aws.fixtures import cloud, cloud_server  # noqa: F401
