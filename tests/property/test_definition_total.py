# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Any file is a definition or causes a DefinitionError with a line for each mistake. Units are converted exactly."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import yaml
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError, ImmutableError
from ansible_collections.immutable.infra.plugins.plugin_utils._core.units import bytes_of, count_of, seconds_of
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition
from hypothesis import example, given, settings
from hypothesis import strategies as st

GOOD = {
    "schema": 1,
    "service": "shop",
    "version": "1",
    "image": {
        "base": {"debian": "bookworm"},
        "provision": {"playbook": "immutable.yml", "vars": {"a": 1}},
        "verify": "verify.yml",
    },
    "data": [{"name": "a", "size": "1G", "mount": "/srv", "type": "raw"}],
    "writable": ["/tmp"],
    "seal": {"shell": "off"},
    "health": {"http": {"port": 80, "status": [200]}, "timeout": "5s"},
    "fleet": {
        "size": 3,
        "surge": "25%",
        "unavailable": 1,
        "count_draining": True,
        "drain": {"timeout": 5},
        "strategy": "canary",
        "canary": [
            {
                "instances": 1,
                "soak": "5m",
                "metric": {"url": "http://a", "path": "a.b", "most": 1},
                "check": "verify.yml",
                "approval": True,
            },
            {
                "instances": "100%",
                "metric": {"command": ["./verify.yml", "a"], "least": 0, "most": 1, "every": 1, "timeout": 1},
            },
        ],
        "deadline": "1h",
        "max_age": "30d",
        "protected": "ignore",
        "standby": "replace",
        "windows": [{"days": ["mon"], "from": "22:00", "to": "05:00", "timezone": "Europe/Berlin"}],
        "alarm": {"command": ["true"]},
        "before_swap": "verify.yml",
        "after_swap": "verify.yml",
        "playbook_timeout": 60,
    },
    "targets": {
        "local": {
            "provider": "qemu",
            "secrets": {"a": {"env": "A"}},
            "machine": {"memory": "1G"},
            "fleet": {"size": 2},
        },
        "cloud": {"provider": "simulated", "zones": ["a"], "simulation": {"boot": 1, "spread": 0.5, "seed": 1}},
        "once": {"provider": "simulated", "fleet": {"strategy": "recreate", "hot": True}},
    },
}
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary(max_size=4)
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def load(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "immutable.yml")
        path.write_bytes(content)
        Path(folder, "verify.yml").touch(mode=0o755)
        try:
            load_definition(path)
        except DefinitionError as error:
            assert error.details["problems"] and all("\n" not in line for line in error.details["problems"])


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b"? [a]\n: b\n")
@example(b"<<: 1\n")
@example(b"a: !!int x\nb: !!timestamp x\nc: !!float\nd: !!bool z\n")
@example(b"schema: !!set {1}\n")
@example(b"\xef\xbb\xbf")
@example(b"*a")
def test_any_bytes_load_or_cause_a_definition_error(content):
    load(content)


@settings(deadline=None)
@given(st.text(alphabet="ab:-{}[]*&!<>'\"\\#|%@,?~ \n\t0.", max_size=60))
def test_any_text_like_yaml_loads_or_causes_a_definition_error(text):
    load(text.encode())


def paths(value, path=()):
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from paths(value[key], (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def test_the_definition_that_the_property_changes_is_valid(tmp_path):
    (tmp_path / "verify.yml").touch(mode=0o755)
    (tmp_path / "immutable.yml").write_text(yaml.safe_dump(GOOD))
    assert set(load_definition(tmp_path).targets) == {"local", "cloud", "once"}


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(list(paths(GOOD))), TREES)
def test_any_value_at_any_key_loads_or_causes_a_definition_error(path, new):
    load(yaml.safe_dump(replaced(GOOD, path, new), allow_unicode=True).encode())


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_a_duration_is_the_sum_of_its_parts(days, hours, minutes, seconds):
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert (
        seconds_of(f"{days}d{hours}h{minutes}m{seconds}s")
        == total
        == seconds_of(str(total))
        == seconds_of(total)
        == seconds_of(f"{total}s")
    )


@given(st.integers(1, 900))
def test_a_size_is_in_powers_of_1024(number):
    assert (
        bytes_of(f"{number}T") == bytes_of(f"{number * 1024}G") == bytes_of(f"{number * 1024**2}M") == number * 1024**4
    )


@given(st.integers(0, 100), st.integers(0, 1000))
def test_a_percentage_is_rounded_up_or_down(percent, size):
    up, down = count_of(f"{percent}%", size), count_of(f"{percent}%", size, up=False)
    assert down <= size * percent / 100 <= up <= down + 1 and up <= size
    assert count_of(size, 3) == size


@given(st.text(max_size=10))
def test_any_text_is_parsed_or_causes_one_clear_error(text):
    for parse in (seconds_of, bytes_of, lambda value: count_of(value, 3)):
        try:
            assert parse(text) >= 0
        except ImmutableError as error:
            assert "(allowed: " in error.message


@pytest.mark.parametrize("value", ["", "1h1h", "1s1h", "-1", "1e3", "soon", None, True, float("nan"), -1])
def test_values_that_are_not_durations(value):
    with pytest.raises(
        ImmutableError, match=r"is not a duration \(allowed: seconds, or numbers with units such as 90s, 5m or 1h30m\)"
    ):
        seconds_of(value)
