"""Scenario files: what they may say, and the sentence for what they may not."""

from __future__ import annotations

import pytest

from evcore.sim.scenario import BUNDLED, Scenario, ScenarioError, bundled, load, seconds


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_scenarios_load(name) -> None:
    scenario = load(name)
    assert scenario.name == name
    assert scenario.description
    assert scenario.duration > 0


def test_a_file_fills_in_defaults(tmp_path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('duration = "2h"\n[arrivals]\nevery = "15m"\n[[models]]\nconnectors = 2\n[[models]]\nshare = 3\n')
    scenario = load(str(file))
    assert (scenario.name, scenario.duration, scenario.arrivals.every) == ("mine", 7200, 900)
    assert [(model.connectors, model.share) for model in scenario.models] == [(2, 1), (1, 3)]
    assert scenario.network == Scenario().network


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("spped = 1", "there is no key spped; allowed here: name, description, duration, speed"),
        ("[arrivals]\nevry = 1", "there is no key arrivals.evry; allowed in [arrivals]: every, within, times, spread"),
        (
            "[[network.storms]]\nat = 1\nshar = 2",
            "no key network.storms[0].shar; allowed in [network.storms]: at, share",
        ),
        ('[arrivals]\nevery = "soon"', "arrivals.every must be a time: seconds ≥ 0, or text like '90s', '15m'"),
        ("[network.drops]\nevery = -1", "network.drops.every must be a time"),
        ("[network.drops]\nevery = true", "network.drops.every must be a time"),
        ('[arrivals]\ntimes = ["25:00"]', "arrivals.times[0] must be a time of day like '07:30'"),
        ('[[models]]\ncurrent = "XC"', "models[0].current cannot be 'XC': input should be 'AC' or 'DC'"),
        ("[[models]]\nconnectors = 0", "models[0].connectors cannot be 0: input should be greater than or equal to 1"),
        ('versions = { "1.5" = 1 }', "input should be '1.6', '2.0.1' or '2.1'"),
        ('[quirks]\nnames = ["Q999"]', "quirks.names does not know Q999; known are Q05, Q06"),
        ("[cars]\narrive = [50, 20]", "cars.arrive must be two values, the smaller one first"),
        ("[cars]\narrive = [50, 120]", "cars.arrive[1] cannot be 120"),
        ("[faults]\ncodes = []", "faults.codes cannot be []"),
        ("duration = 0", "a scenario without an end needs arrivals.visits"),
        ("speed = 0", "speed cannot be 0"),
        ("x", "is not TOML: "),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, sentence) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(ScenarioError) as error:
        load(str(file))
    assert str(error.value).startswith(f"the scenario {file}")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_scenario_that_is_not_there() -> None:
    with pytest.raises(ScenarioError, match=r"no scenario 'rush': choose idle, home, commuter.*or a TOML file"):
        load("rush")
    with pytest.raises(ScenarioError, match=r"rush\.toml cannot be read: No such file"):
        load("rush.toml")


def test_times() -> None:
    assert [seconds(value) for value in (90, 1.5, "90", "90s", "1.5m", "2h", "1d", " 3 m ")] == [
        90, 1.5, 90, 90, 90, 7200, 86400, 180,
    ]  # fmt: skip
    for bad in (-1, True, None, "m", "1w", "1h30m"):
        with pytest.raises(ValueError, match="must be a time"):
            seconds(bad)


def test_bundled_ones_differ_from_the_defaults() -> None:
    assert len({bundled(name).model_dump_json() for name in BUNDLED}) == len(BUNDLED)
