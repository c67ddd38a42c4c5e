# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compares a real AWS account with the rules of the tests.

Each check makes the calls that a rule describes (tests/support/aws/rules.py) and prints what AWS does differently. It
launches at most one instance at a time, of the type t3.nano, for a few minutes, with a Network Load Balancer for one of
them, and makes volumes of at most 3 GiB: a run costs a few cents. Everything has the tag immutable-live and is removed
at the end of its check. What a killed run left is removed by --clean.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from . import accounts, instances, leftovers, roots, stores, templates, traffic, volumes
from .live import Live


@dataclass(frozen=True)
class Check:
    """Compares AWS with some rules.

    Attributes:
        rules: their names in the table of the tests.
        needs: the options that it cannot do without.
        run: yields "" for each point that is as the rules say, else the difference.
    """

    rules: tuple[str, ...]
    needs: tuple[str, ...]
    run: Callable[[Live], Iterator[str]]


LAUNCHES = ("ami", "subnet")
REPLACING = "replacing root volumes"  # no rule: Moto has no such tasks, and tests script them
CHECKS = (
    Check(("user data size",), LAUNCHES, instances.user_data),
    Check(("client tokens",), LAUNCHES, instances.client_tokens),
    Check(("launching takes time", "stopping and terminating take time", "starting"), LAUNCHES, instances.life_cycle),
    Check(("reserved tags",), LAUNCHES, instances.reserved_tags),
    Check((REPLACING,), LAUNCHES, roots.replacing),
    Check(("creating volumes takes time",), (), volumes.creating),
    Check(("detaching",), (), volumes.detaching),
    Check(("modifying volumes", "modifications take time"), (), volumes.modifying),
    Check(("limits of volume types",), (), volumes.volume_types),
    Check(("snapshots take time", "snapshots' states", "snapshots have data"), (), volumes.snapshots),
    Check(
        ("conditional writes are atomic", "buckets are private and encrypted"), ("bucket",), stores.conditional_writes
    ),
    Check(("parameter size",), (), stores.parameter_size),
    Check(("user data of launch templates", "template versions inherit"), (), templates.versions),
    Check(("registering with a Network Load Balancer", "registering targets"), LAUNCHES, traffic.network_balancer),
    Check(("sharing what the default key encrypts",), ("account",), accounts.default_key),
)


def main(arguments: Sequence[str]) -> int:
    """Return 0 if AWS does what the rules say, 1 if it does not or a check could not run, 2 for wrong options."""
    options = _parser().parse_args(arguments)
    if options.clean:
        return leftovers.remove(Live(options.region))
    live = Live(
        options.region,
        bucket=options.bucket,
        subnet=options.subnet,
        ami=options.ami,
        instance_type=options.instance_type,
        account=options.account,
    )
    print(f"everything that this run makes has the tag immutable-live={live.run}")
    different = [compare(check, live) for check in CHECKS]
    return int(any(different))


def compare(check: Check, live: Live) -> bool:
    """Run a check and print its result. Return whether something is different, or could not be compared."""
    name = ", ".join(check.rules)
    if missing := [f"--{need}" for need in check.needs if not getattr(live, need)]:
        print(f"skipped    {name}: needs {' and '.join(missing)}")
        return False
    try:
        with live.cleaning():
            found = [difference for difference in check.run(live) if difference]
    except (BotoCoreError, ClientError) as error:
        print(f"failed     {name}: {error}")
        return True
    for difference in found:
        print(f"different  {name}: {difference}")
    if not found:
        print(f"the same   {name}")
    return bool(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests/aws-live", description=__doc__)
    parser.add_argument("--region", required=True, help="where to run; credentials are those of the AWS configuration")
    parser.add_argument("--bucket", default="", help="an existing bucket in the region, for objects")
    parser.add_argument("--subnet", default="", help="a subnet, for instances")
    parser.add_argument("--ami", default="", help="an AMI that boots on the instance type, such as Debian's")
    parser.add_argument("--account", default="", help="ID of another account; nothing becomes shared with it")
    parser.add_argument("--instance-type", default="t3.nano", help="(default: %(default)s)")
    parser.add_argument("--clean", action="store_true", help="only remove what killed runs left in the region")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
