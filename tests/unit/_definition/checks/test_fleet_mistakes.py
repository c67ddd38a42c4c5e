# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every kind of mistake about how a fleet is swapped, with the exact message."""

from __future__ import annotations

import pytest
from ansible_collections.immutable.infra.plugins.plugin_utils._core.errors import DefinitionError
from ansible_collections.immutable.infra.plugins.plugin_utils._definition.load import load_definition

GOOD = """\
schema: 1
service: shop
version: "1"
image: {base: {debian: bookworm}, provision: {playbook: provision.yml}}
health: {http: {port: 80}}
fleet: {size: 4}
targets:
  local: {provider: qemu}
"""
DATA = "data: [{name: a, size: 1G, mount: /srv}]\nhealth:"
BLUE = "{strategy: blue_green"
FILE = "the path of a file inside the definition's folder"
WAIT = "seconds, or numbers with units such as 90s, 5m or 1h30m"
POLICY = "is not a supported policy (allowed: wait, ignore, replace)"
COMMAND = "a list of a program and its arguments, such as [./errors.sh, --last, 5m]"
METRIC = "a mapping with exactly one of command and url"
NO_BOUND = "a mapping reads a number without bounds (allowed: a mapping with least, most or both)"
NOT_ONE_SOURCE = "a mapping does not name exactly one source"
TIME = 'a time in quotes, from "00:00" to "23:59"'
DAYS = "mon, tue, wed, thu, fri, sat, sun"
NEEDS_STAGES = "strategy: canary requires it (allowed: a list of at least one stage)"
KEPT = (
    "an old fleet cannot be kept if slots own data volumes, which move from the old hosts to the new ones; "
    "remove this key"
)
FLIP = "a whole fleet cannot switch at once if slots own data volumes, which move one at a time"
AT_ONCE = "recreate takes every instance out of service at once"
MOVES = "a volume cannot be in two places, so its slot is out of service while it moves"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    for name in ("provision.yml", "check.yml", "plain.sh", "run.sh"):
        (folder / name).write_text("[]\n")
    (folder / "run.sh").chmod(0o755)
    return folder


def problems(folder, *changes: tuple[str, str]) -> list[str]:
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "immutable.yml").write_text(text)
    try:
        load_definition(folder)
    except DefinitionError as error:
        return [line.removeprefix("immutable.yml:") for line in error.details["problems"]]
    return []


def one(stage: str) -> str:
    return f"{{strategy: canary, size: 4, canary: [{stage}]}}"


FORMS = [
    # the fleet, and the only line of the error
    ("{count_draining: 1}", "fleet.count_draining: 1 is not true or false (allowed: true or false)"),
    ("{strategy: recreate, hot: yes}", 'fleet.hot: "yes" is not true or false (allowed: true or false)'),
    (f"{BLUE}, keep_old: later}}", f'fleet.keep_old: "later" is not a duration (allowed: {WAIT})'),
    ("{deadline: 0}", f"fleet.deadline: 0 is not a duration (allowed: more than zero: {WAIT})"),
    ("{max_age: never}", f'fleet.max_age: "never" is not a duration (allowed: more than zero: {WAIT})'),
    ("{playbook_timeout: 0s}", f'fleet.playbook_timeout: "0s" is not a duration (allowed: more than zero: {WAIT})'),
    ("{protected: keep}", f'fleet.protected: "keep" {POLICY}'),
    ("{standby: true}", f"fleet.standby: true {POLICY}"),
    (
        "{strategy: canary, canary: []}",
        "fleet.canary: an empty list defines no stage (allowed: a list of at least one stage, each with more "
        "instances than the previous one)",
    ),
    (one("{soak: 5m}"), 'fleet.canary[0].instances: the key is missing (allowed: an integer from 1, or "25%")'),
    (
        one("{instances: 0}"),
        'fleet.canary[0].instances: 0 is neither a count nor a percentage (allowed: an integer from 1, or "25%")',
    ),
    (
        one("{instances: 101%}"),
        'fleet.canary[0].instances: "101%" is neither a count nor a percentage (allowed: an integer from 1, or "25%")',
    ),
    (
        one("{instances: 1, aproval: true}"),
        'fleet.canary[0].aproval: unknown key (did you mean "approval"? allowed: instances, soak, metric, check, '
        "approval)",
    ),
    (
        one("{instances: 1, approval: me}"),
        'fleet.canary[0].approval: "me" is not true or false (allowed: true or false)',
    ),
    (one("{instances: 1, metric: {most: 1}}"), f"fleet.canary[0].metric: {NOT_ONE_SOURCE} (allowed: {METRIC})"),
    (
        one("{instances: 1, metric: {most: 1, url: 'http://a', command: [x]}}"),
        f"fleet.canary[0].metric: {NOT_ONE_SOURCE} (allowed: {METRIC})",
    ),
    (one("{instances: 1, metric: {command: [x]}}"), f"fleet.canary[0].metric: {NO_BOUND}"),
    (one("{instances: 1, metric: {url: 'http://a'}}"), f"fleet.canary[0].metric: {NO_BOUND}"),
    (
        one("{instances: 1, metric: {command: [x], least: 2, most: 1.5}}"),
        "fleet.canary[0].metric.least: 2 is greater than most, 1.5 (allowed: at most 1.5)",
    ),
    ("{alarm: {url: 'http://a'}}", f"fleet.alarm: {NO_BOUND}"),
    ("{alarm: {command: [x], path: data.rate}}", f"fleet.alarm: {NO_BOUND}"),
    (
        "{alarm: {command: [x], path: data..rate, most: 1}}",
        'fleet.alarm.path: "data..rate" is not a path in JSON (allowed: names and indexes such as data.rate or '
        "results[0].value)",
    ),
    ("{alarm: {command: []}}", f"fleet.alarm.command: an empty list names no program (allowed: {COMMAND})"),
    ("{alarm: {command: ./a.sh --now}}", f'fleet.alarm.command: "./a.sh --now" is not a list (allowed: {COMMAND})'),
    (
        "{alarm: {command: [x, 1]}}",
        'fleet.alarm.command[1]: 1 is read as the number 1; put it in quotes: "1"',
    ),
    (
        "{alarm: {url: 'ftp://a', most: 1}}",
        'fleet.alarm.url: "ftp://a" is not a URL (allowed: a URL that starts with https:// or http://)',
    ),
    ("{alarm: {command: [x], most: low}}", 'fleet.alarm.most: "low" is not a valid bound (allowed: a number)'),
    ("{alarm: {command: [x], every: 0}}", f"fleet.alarm.every: 0 is not a duration (allowed: more than zero: {WAIT})"),
    (
        "{windows: [{from: 22:00, to: '05:00'}]}",
        'fleet.windows[0].from: 22:00 is read as the number 1320; put it in quotes: "22:00"',
    ),
    (
        "{windows: [{from: '22:00', to: '24:00'}]}",
        f'fleet.windows[0].to: "24:00" is not a time of day (allowed: {TIME})',
    ),
    ("{windows: [{from: '22:00'}]}", f"fleet.windows[0].to: the key is missing (allowed: {TIME})"),
    (
        "{windows: [{from: '22:00', to: '22:00'}]}",
        'fleet.windows[0].to: "22:00" is also the start of the window (allowed: a time other than from)',
    ),
    (
        "{windows: [{from: '22:00', to: '23:00', days: [monday]}]}",
        f'fleet.windows[0].days[0]: "monday" is not a day (allowed: {DAYS})',
    ),
    (
        "{windows: [{from: '22:00', to: '23:00', days: [mon, mon]}]}",
        "fleet.windows[0].days: a list does not name at least one day, each only once (allowed: a list of different "
        "days, such as [mon, tue])",
    ),
    (
        "{windows: [{from: '22:00', to: '23:00', timezone: Europe/Berln}]}",
        'fleet.windows[0].timezone: the time zone "Europe/Berln" is unknown on the controller (did you mean '
        '"Europe/Berlin"? allowed: a name such as Europe/Berlin, or UTC)',
    ),
]


@pytest.mark.parametrize("fleet, line", FORMS)
def test_a_wrong_value_is_reported_with_the_allowed_ones(folder, fleet, line):
    assert problems(folder, ("{size: 4}", fleet)) == [f"6: {line}"]


@pytest.mark.parametrize("zone", ["Europe", "Nowhere", "Europe/../Berlin", "A/" * 300])
def test_a_time_zone_must_be_known_on_the_controller(folder, zone):
    (line,) = problems(folder, ("{size: 4}", f"{{windows: [{{from: '22:00', to: '23:00', timezone: {zone}}}]}}"))
    assert line.startswith("6: fleet.windows[0].timezone: ") and line.endswith(
        "allowed: a name such as Europe/Berlin, or UTC)"
    )


ONLY_BLUE = "but only blue_green uses this key; remove it or set strategy: blue_green"
ONLY_RECREATE = "but only recreate uses this key; remove it or set strategy: recreate"
STRATEGIES = [
    # the service's fleet, the target's, and the lines of the error
    ("{keep_old: 10m}", "{}", [f"6: fleet.keep_old: the strategy is rolling, {ONLY_BLUE}"]),
    ("{hot: false}", "{}", [f"6: fleet.hot: the strategy is rolling, {ONLY_RECREATE}"]),
    (
        "{canary: [{instances: 1}]}",
        "{}",
        ["6: fleet.canary: the strategy is rolling, but only canary uses this key; remove it or set strategy: canary"],
    ),
    (
        "{strategy: rolling, keep_old: 10m}",
        "{strategy: blue_green}",
        [f"6: fleet.keep_old: the strategy is rolling, {ONLY_BLUE}"],
    ),
    (
        f"{BLUE}, keep_old: 10m}}",
        "{strategy: recreate, keep_old: 10m}",
        [
            f"8: targets.local.fleet.keep_old: the strategy is recreate on target local, {ONLY_BLUE}",
        ],
    ),
    (
        f"{BLUE}}}",
        "{hot: true}",
        [f"8: targets.local.fleet.hot: the strategy is blue_green on target local, {ONLY_RECREATE}"],
    ),
    ("{strategy: recreate, unavailable: 1}", "{}", [f"6: fleet.unavailable: {AT_ONCE}; remove this key"]),
    (
        "{strategy: recreate}",
        "{unavailable: 1}",
        [f"8: targets.local.fleet.unavailable: {AT_ONCE} on target local; remove this key"],
    ),
    ("{strategy: canary}", "{}", [f"6: fleet.canary: the key is missing on target local; {NEEDS_STAGES}"]),
    (
        "{size: 2}",
        "{strategy: canary}",
        [f"8: targets.local.fleet.canary: the key is missing on target local; {NEEDS_STAGES}"],
    ),
    # a target does not inherit keys that its strategy ignores
    (f"{BLUE}, keep_old: 10m}}", "{strategy: rolling}", []),
    ("{keep_old: 10m}", "{strategy: blue_green}", []),
    ("{strategy: rolling, size: 2, unavailable: 1}", "{strategy: recreate}", []),
    ("{strategy: canary}", "{canary: [{instances: 1}]}", []),
    ("{strategy: recreate, hot: true}", "{}", []),
]


@pytest.mark.parametrize("fleet, own, lines", STRATEGIES)
def test_a_key_requires_a_strategy_that_uses_it(folder, fleet, own, lines):
    assert problems(folder, ("{size: 4}", fleet), ("qemu", f"qemu, fleet: {own}")) == lines


STAGES = [
    ("{instances: 1}, {instances: 4}", []),
    ("{instances: 1}, {instances: 30%}, {instances: 100%}", []),
    (
        "{instances: 2}, {instances: 2}",
        [
            "canary[1].instances: 2 of 4 on target local is not more than the 2 of the previous stage (allowed: "
            "more instances in each stage)"
        ],
    ),
    (
        "{instances: 1}, {instances: 25%}",
        [
            'canary[1].instances: "25%" of 4 on target local, which is 1, is not more than the 1 of the previous '
            "stage (allowed: more instances in each stage)"
        ],
    ),
    (
        "{instances: 5}",
        [
            "canary[0].instances: 5 of 4 on target local is more than the fleet's size (allowed: at most 4, or a "
            "percentage)"
        ],
    ),
]


@pytest.mark.parametrize("stages, lines", STAGES)
def test_stages_grow_up_to_the_size_of_the_fleet(folder, stages, lines):
    assert problems(folder, ("{size: 4}", one(stages))) == [f"6: fleet.{line}" for line in lines]


def test_stages_are_checked_against_the_size_of_each_target(folder):
    line = (
        '6: fleet.canary[1].instances: "25%" of 1 on target local, which is 1, is not more than the 1 of the '
        "previous stage (allowed: more instances in each stage)"
    )
    assert problems(
        folder,
        ("{size: 4}", one("{instances: 1}, {instances: 25%}").replace("4", "8")),
        ("qemu", "qemu, fleet: {size: 1}"),
    ) == [line]


OWNED = [
    (f"{BLUE}}}", [f"7: fleet.strategy: {FLIP} on target local (allowed: rolling, canary, recreate)"]),
    (
        f"{BLUE}, keep_old: 1h}}",
        [
            f"7: fleet.keep_old: {KEPT}",
            f"7: fleet.strategy: {FLIP} on target local (allowed: rolling, canary, recreate)",
        ],
    ),
    ("{keep_old: 1h}", [f"7: fleet.keep_old: {KEPT}"]),
    *(
        (
            f"{{strategy: {strategy}, unavailable: 0}}",
            [
                f"7: fleet.unavailable: 0 of 1 is not possible if slots own data volumes: {MOVES} (allowed: an "
                f"integer from 1, or no value)"
            ],
        )
        for strategy in ("rolling", "recreate")
    ),
    ("{strategy: recreate, size: 3, unavailable: 1}", []),
    ("{strategy: canary, size: 3, canary: [{instances: 1}]}", []),
]


@pytest.mark.parametrize("fleet, lines", OWNED)
def test_slots_with_data_move_one_at_a_time(folder, fleet, lines):
    assert problems(folder, ("health:", DATA), ("{size: 4}", fleet)) == lines


FILES = [
    ("{before_swap: no.yml}", f'before_swap: there is no file "no.yml" (allowed: {FILE})'),
    ("{after_swap: ../no.yml}", f'after_swap: "../no.yml" is outside the definition\'s folder (allowed: {FILE})'),
    (
        "{after_swap: provision.yml}",
        'after_swap: "provision.yml" is also the provision playbook (allowed: a separate playbook)',
    ),
    (one("{instances: 1, check: no.yml}"), f'canary[0].check: there is no file "no.yml" (allowed: {FILE})'),
    ("{alarm: {command: [./no.sh]}}", f'alarm.command[0]: there is no file "./no.sh" (allowed: {FILE})'),
    (
        "{alarm: {command: [./plain.sh]}}",
        'alarm.command[0]: "./plain.sh" is not executable; run chmod +x on it',
    ),
    (
        one("{instances: 1, metric: {most: 1, command: [./no.sh]}}"),
        f'canary[0].metric.command[0]: there is no file "./no.sh" (allowed: {FILE})',
    ),
]


@pytest.mark.parametrize("fleet, line", FILES)
def test_a_file_must_exist_inside_the_folder(folder, fleet, line):
    assert problems(folder, ("{size: 4}", fleet)) == [f"6: fleet.{line}"]
    if "strategy" not in fleet:
        assert problems(folder, ("qemu", f"qemu, fleet: {fleet}")) == [f"8: targets.local.fleet.{line}"]


def test_a_program_may_be_in_the_folder_or_on_the_search_path(folder):
    assert (
        problems(folder, ("{size: 4}", "{alarm: {command: [./run.sh]}}"))
        == problems(folder, ("{size: 4}", "{alarm: {command: [curl, x]}}"))
        == []
    )


PROVIDERS = [
    ("qemu", "qemu, zones: [a, b]", "8: targets.local.zones: the provider qemu has no zones; remove this key"),
    (
        "qemu",
        "simulated, zones: [a, a]",
        "8: targets.local.zones: a list contains a zone twice (allowed: a list of different names)",
    ),
    (
        "qemu",
        "simulated, zones: [a b]",
        '8: targets.local.zones[0]: "a b" is not a zone name (allowed: letters, digits and . _ -, at most 63 '
        "characters)",
    ),
    (
        "qemu",
        "qemu, simulation: {}",
        "8: targets.local.simulation: the provider qemu runs real machines; remove this key or set provider: simulated",
    ),
    (
        "qemu",
        "simulated, simulation: {fail_boot: 1.1}",
        "8: targets.local.simulation.fail_boot: 1.1 is not a probability or a share (allowed: a number from 0 to 1)",
    ),
    (
        "qemu",
        "simulated, simulation: {boot: fast}",
        f'8: targets.local.simulation.boot: "fast" is not a duration (allowed: {WAIT})',
    ),
    (
        "qemu",
        "simulated, simulation: {seed: -1}",
        "8: targets.local.simulation.seed: -1 is not a seed (allowed: an integer from 0 to 4294967295)",
    ),
    (
        "health:",
        DATA.replace("/srv", "/srv, type: gp3"),
        '5: data[0].type: "gp3" is not a volume type on target local, whose provider is qemu (allowed: qcow2, raw)',
    ),
    (
        "health:",
        DATA.replace("/srv", "/srv, type: a b"),
        '5: data[0].type: "a b" is not a valid volume type (allowed: a type that the providers of all targets '
        "support, such as qcow2 or raw)",
    ),
]


@pytest.mark.parametrize("old, new, line", PROVIDERS)
def test_a_target_uses_only_what_its_provider_supports(folder, old, new, line):
    assert problems(folder, (old, new))[:1] == [line]


@pytest.mark.parametrize("kind, provider", [("raw", "qemu"), ("qcow2", "qemu"), ("gp3", "simulated")])
def test_a_provider_accepts_its_volume_types(folder, kind, provider):
    assert problems(folder, ("health:", DATA.replace("/srv", f"/srv, type: {kind}")), ("qemu", provider)) == []
