# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""moto behind the proxy, for tests of the AWS rooms."""
from ansible_collections.immutable.infra.tests.support.aws.fixtures import cloud, cloud_server
from ansible_collections.immutable.infra.tests.support.aws.swaplab import clock

__all__ = ["clock", "cloud", "cloud_server"]
