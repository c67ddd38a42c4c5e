# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Check that the HTTP requests of a definition, probes and metrics, can be sent, verified and kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..document import Document, KeyPath, target_names, value_at
from ..fleet import fleet_paths, metric_paths
from ..model import Target
from ..probes import RESERVED_HEADERS
from ..providers import RULES
from .certificates import check_certificates

# What the checks of an AWS target group cannot do, see
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
_NOT_OF_TARGET_GROUPS = {
    "headers": "send headers",
    "contains": "read the body",
    "method": "send another method than GET",
    "https": "verify the certificate",
}


def check_healths(document: Document, folder: Path) -> None:
    """Add a problem for everything in an HTTP request that cannot be done. ``folder``: the definition's."""
    for place in _http_paths(document):
        _check_status(document, (*place, "status"))
        _check_headers(document, (*place, "headers"))
        bodiless = value_at(document.data, (*place, "method")) == "HEAD"
        if bodiless and value_at(document.data, (*place, "contains")) is not None:
            document.add_problem(
                (*place, "contains"), "an answer to HEAD has no body; remove this key or set method: GET"
            )
        _check_https(document, (*place, "https"), folder)
    for metric in [each for fleet in fleet_paths(document.data) for each in metric_paths(document.data, fleet)]:
        _check_headers(document, (*metric, "headers"))
        check_certificates(document, (*metric, "ca"), folder)
        if value_at(document.data, (*metric, "ca")) and str(value_at(document.data, (*metric, "url"))).startswith(
            "http:"
        ):
            document.add_problem(
                (*metric, "ca"), "no certificate is verified with a URL of http://; remove this key or use https://"
            )
    for name in target_names(document.data):
        if value_at(document.data, ("targets", name, "probe")) == "balancer":
            _check_target_group(document, name)


def check_tags(document: Document, targets: Mapping[str, Target]) -> None:
    """Add a problem for each target whose health does not fit into the tags that keep it in a cloud."""
    for name, target in targets.items():
        size = len(json.dumps(target.health.as_dict(), sort_keys=True))
        most = RULES[target.provider].health_text
        if most is not None and size > most:
            document.add_problem(
                _http_of(document, name) or ("health",),
                f"the health settings take {size} characters in the tags of an instance on target {name} "
                f"(allowed: {most}; shorten the path, the headers or the expected text)",
            )


def _http_paths(document: Document) -> Iterator[KeyPath]:
    for place in (("health", "http"), *(("targets", name, "health", "http") for name in target_names(document.data))):
        if isinstance(value_at(document.data, place), Mapping):
            yield place


def _http_of(document: Document, target: str) -> KeyPath:
    """The path of the HTTP probe that a target uses, or ()."""
    places: tuple[KeyPath, ...] = (("targets", target, "health", "http"), ("health", "http"))
    return next((place for place in places if value_at(document.data, place) is not None), ())


def _check_status(document: Document, place: KeyPath) -> None:
    status = value_at(document.data, place)
    for number, each in enumerate(status if isinstance(status, list) else [status]):
        if isinstance(each, str) and each.partition("-")[0] > each.partition("-")[2]:
            document.add_problem(
                (*place, number) if isinstance(status, list) else place,
                f"{json.dumps(each)} contains no status code (allowed: a range such as 200-299, from the lower code)",
            )


def _check_headers(document: Document, place: KeyPath) -> None:
    headers = value_at(document.data, place)
    known: dict[str, str] = {}
    for name in headers if isinstance(headers, Mapping) else ():
        if name.lower() in RESERVED_HEADERS:
            document.add_problem((*place, name), "the probe itself decides about this header; remove it")
        elif name.lower() in known:
            document.add_problem(
                (*place, name), f"this header is the same as {known[name.lower()]} (allowed: each header once)"
            )
        known.setdefault(name.lower(), name)


def _check_https(document: Document, place: KeyPath, folder: Path) -> None:
    https = value_at(document.data, place)
    if not isinstance(https, Mapping):
        return
    if https.get("verify") is False:
        if "ca" in https:
            document.add_problem(
                (*place, "ca"), "no certificate is verified if verify is false; remove one of these keys"
            )
        return
    if "server_name" not in https:
        document.add_problem(
            (*place, "server_name"),
            "the key is missing, so a certificate for any name would pass (allowed: the host name in the service's "
            "certificate; verify: false accepts any certificate)",
        )
    check_certificates(document, (*place, "ca"), folder)


def _check_target_group(document: Document, target: str) -> None:
    place = _http_of(document, target)
    probe = value_at(document.data, place) if place else None
    for key, what in _NOT_OF_TARGET_GROUPS.items():
        value = probe.get(key) if isinstance(probe, Mapping) else None
        harmless = value == "GET" if key == "method" else isinstance(value, Mapping) and value.get("verify") is False
        if value is None or harmless:
            continue
        document.add_problem(
            (*place, key),
            f"probe: balancer lets the target group of target {target} decide, which cannot {what}; "
            + ("set verify: false or probe: direct" if key == "https" else "remove this key or set probe: direct"),
        )
