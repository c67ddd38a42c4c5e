# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A sealed host lives: logs fit and rotate, no login expires, and what is in memory comes back at each boot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.immutable.infra.plugins.module_utils._seal import Spec
from ansible_collections.immutable.infra.plugins.plugin_utils._providers.qemu.provider import QemuCompute
from ansible_collections.immutable.infra.tests.support.ec2_guest import build
from ansible_collections.immutable.infra.tests.support.guests import ssh_known
from ansible_collections.immutable.infra.tests.support.sealed_guest import (
    DIGEST,
    FLEET_NAME,
    compute_in,
    launched,
    script_of,
    sealed,
)

pytestmark = pytest.mark.long

ODD = "/srv/a b 100%"
# The image before the seal: packages and people leave links, odd names and expired accounts.
SCRIPT = rf"""
mkdir -p '{ODD}/in "side" %n' /var/lib/tomcat10/webapps /var/log/shop
ln -s '{ODD}/in "side" %n' '{ODD}/li nk%%'
ln -s /etc/tomcat10 /var/lib/tomcat10/conf
ln -s ../../log/tomcat10 /var/lib/tomcat10/logs
chown www-data:www-data /var/lib/tomcat10/webapps
chown -h www-data:www-data /var/lib/tomcat10/logs
chmod 0750 /var/lib/tomcat10/webapps
printf '/var/log/shop/*.log {{\n size 1k\n rotate 2\n missingok\n}}\n' > /etc/logrotate.d/shop
sed -i 's/^root:.*/root:!!:0:0:60:7:::/' /etc/shadow
useradd --create-home --shell /bin/sh deploy
sed -i 's/^deploy:.*/deploy:!$6$salt$hash:0:0:60:7:1:18000:/' /etc/shadow
"""
CLAIMS = script_of(rf"""
total=$(awk '$1 == "MemTotal:" {{ print $2 * 1024 }}' /proc/meminfo)
size=$(findmnt -bno SIZE /var/log)
claim 'test "$size" -gt $((total / 100 * 18))'
claim 'test "$size" -lt $((total / 100 * 22))'
claim '! dd if=/dev/zero of=/var/log/fill bs=1M count=450 2> /dev/null'
claim 'test "$(stat -c %s /var/log/fill)" -le "$size"'
rm -f /var/log/fill
claim 'systemctl is-active -q logrotate.timer'
yes 'a line' | head -c 4000 > /var/log/shop/a.log
claim 'systemctl start logrotate.service'
claim 'test -s /var/log/shop/a.log.1'
claim 'test -s /var/lib/logrotate/status'
claim 'test "$(findmnt -no FSTYPE "{ODD}")" = tmpfs'
claim 'test -d "{ODD}/in \"side\" %n"'
claim 'test "$(readlink "{ODD}/li nk%%")" = "{ODD}/in \"side\" %n"'
claim 'touch "{ODD}/new"'
claim 'test "$(readlink /var/lib/tomcat10/conf)" = /etc/tomcat10'
claim 'test "$(readlink /var/lib/tomcat10/logs)" = ../../log/tomcat10'
claim 'test "$(stat -c %U:%G /var/lib/tomcat10/logs)" = www-data:www-data'
claim 'test "$(stat -c %U:%G:%a /var/lib/tomcat10/webapps)" = www-data:www-data:750'
claim 'touch /var/lib/tomcat10/webapps/new'
claim 'grep -qx "root:\*:::::::" /etc/shadow'
claim 'grep -qx "deploy:\*:::::::" /etc/shadow'
""")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sealed-image")
    (folder / "files").mkdir()
    spec = Spec("shop", "1", DIGEST, writable=(ODD, "/var/lib/tomcat10"))
    return build(folder, spec, folder / "files", packages=["logrotate"], script=SCRIPT)


@pytest.fixture
def compute(tmp_path: Path) -> Iterator[QemuCompute]:
    machines = compute_in(tmp_path)
    yield machines
    machines.power_off([instance.id for instance in machines.list(FLEET_NAME)])


def test_logs_logins_links_and_names_after_each_boot(disk: Path, compute: QemuCompute, tmp_path: Path) -> None:
    instance = launched(compute, disk, tmp_path)
    for boot in range(2):
        if boot:
            compute.power_off([instance.id])
            compute.start([instance.id])
            instance = sealed(compute)
        assert instance.evidence is not None
        connection = (tmp_path, instance.endpoints[22][1], instance.evidence.host_key)
        checked = ssh_known(*connection, CLAIMS)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        as_user = ssh_known(*connection, "id -un", user="deploy")
        assert (as_user.stdout.strip(), as_user.returncode) == ("deploy", 0), as_user.stderr
