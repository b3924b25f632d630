"""What simulated stations do: scenarios, read from TOML.

In: the name of a bundled scenario or a file. Out: an immutable `Scenario` whose defaults are all filled in. Refused, as
ScenarioError with one sentence that names file, key and what is allowed: what is no TOML, unknown keys, values that do
not fit. docs/simulate.md has the schema as a table.

Times are simulated seconds; a file may write them as `90`, `"90s"`, `"15m"`, `"2h"`, `"1d"`.
"""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from evcore.sim.quirks import QUIRKS

__all__ = [
    "BUNDLED",
    "Arrivals",
    "Cars",
    "Drops",
    "Faults",
    "Model",
    "Network",
    "Quirks",
    "Scenario",
    "ScenarioError",
    "Storm",
    "bundled",
    "load",
    "seconds",
]

#: Names of the bundled scenarios, in the order they are listed.
BUNDLED: Final = ("idle", "home", "commuter", "depot", "highway", "flaky", "storm", "misbehaving")

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


class ScenarioError(ValueError):
    """A scenario that cannot be played; the text is a sentence for people."""


def seconds(value: object) -> float:
    """A time: a number of seconds, or text as `90s`, `15m`, `2h`, `1d`. Raises ValueError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(value)
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a time: seconds ≥ 0, or text like '90s', '15m', '2h', '1d'")
    return float(match[1]) * _UNITS[match[2]]


def _of_day(value: object) -> float:
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a time of day like '07:30'")
    return int(match[1]) * 3600.0 + int(match[2]) * 60.0


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("must be two values, the smaller one first")
    return bounds


def _known_quirks(names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in QUIRKS]
    if unknown:
        raise ValueError(f"does not know {', '.join(unknown)}; known are {', '.join(QUIRKS)}")
    return names


Seconds: TypeAlias = Annotated[float, BeforeValidator(seconds)]
TimeOfDay: TypeAlias = Annotated[float, BeforeValidator(_of_day)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Percent: TypeAlias = Annotated[float, Field(ge=0, le=100)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
SecondsRange: TypeAlias = Annotated[tuple[Seconds, Seconds], AfterValidator(_ordered)]
PercentRange: TypeAlias = Annotated[tuple[Percent, Percent], AfterValidator(_ordered)]
PositiveRange: TypeAlias = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
QuirkNames: TypeAlias = Annotated[tuple[str, ...], AfterValidator(_known_quirks)]

FaultCode: TypeAlias = Literal[
    "ConnectorLockFailure", "EVCommunicationError", "GroundFailure", "HighTemperature", "InternalError", "OtherError",
    "OverCurrentFailure", "OverVoltage", "PowerMeterFailure", "PowerSwitchFailure", "ReaderFailure", "UnderVoltage",
    "WeakSignal",
]  # fmt: skip


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Model(_Part):
    """A make of station. `share`: how many stations are of it, relative to the other models' shares."""

    share: Positive = 1.0
    vendor: Annotated[str, Field(max_length=20)] = "evcore"
    model: Annotated[str, Field(max_length=20)] = "Simulator"
    firmware: Annotated[str, Field(min_length=1, max_length=50)] = "1.0.0"
    connectors: Annotated[int, Field(ge=1, le=64)] = 1
    """In 2.x each is an EVSE with one connector."""
    current: Literal["AC", "DC"] = "AC"
    power: Positive = 22.0
    """kW a connector can give."""
    phases: Literal[1, 3] = 3
    """Of AC."""
    voltage: Positive = 400.0
    """V of DC."""
    sample_interval: Seconds = 60.0
    """Between meter values of a transaction, unless the CSMS sets it; 0: none."""
    heartbeat_interval: Seconds = 300.0
    """Where the CSMS gives none."""
    quirks: QuirkNames = ()
    """Quirks all stations of this model have."""


class Arrivals(_Part):
    """When cars come to a free connector: every so often, at times of the day, or both."""

    every: Seconds = 0.0
    """Mean time a connector stays free (exponential); 0: nobody comes this way."""
    within: SecondsRange | None = None
    """Instead of `every`: the time a connector stays free, evenly distributed."""
    times: tuple[TimeOfDay, ...] = ()
    """Times of day (UTC) around which a car comes."""
    spread: Seconds = 1800.0
    """Standard deviation around `times`, roughly."""
    busy: Share = 0.0
    """Share of connectors a car comes to at the very beginning, within the first five minutes."""
    visits: Annotated[int, Field(ge=0)] = 0
    """Charges after which a station leaves for good; 0: no end."""


class Cars(_Part):
    """The cars, evenly distributed between the bounds."""

    capacity: PositiveRange = (40.0, 80.0)
    """kWh."""
    arrive: PercentRange = (20.0, 50.0)
    """State of charge in % on arrival."""
    target: PercentRange = (85.0, 100.0)
    """State of charge in % at which the car has enough."""
    power: Annotated[tuple[Positive, ...], Field(min_length=1)] = (7.4, 11.0, 22.0)
    """kW a car can take; one of them each. On AC, 7.4 and less is one phase."""
    stay: SecondsRange | None = None
    """How long a car is parked; without it a car leaves when it has enough."""
    remote_only: bool = False
    """Drivers do not show a token; the CSMS starts the charge or nobody does."""


class Faults(_Part):
    """Connectors that fail and recover."""

    every: Seconds = 0.0
    """Mean time between two faults of one connector; 0: never."""
    last: SecondsRange = (30.0, 900.0)
    codes: Annotated[tuple[FaultCode, ...], Field(min_length=1)] = ("OtherError", "GroundFailure", "HighTemperature")
    """1.6 error codes; 2.x stations say them as tech codes in NotifyEvent."""


class Drops(_Part):
    """Connections that are lost now and then."""

    every: Seconds = 0.0
    """Mean time between two losses of one station; 0: never."""
    offline: SecondsRange = (5.0, 300.0)
    """Until the station tries to connect again."""


class Storm(_Part):
    """A moment in which many stations lose their connections at once."""

    at: Seconds
    """After the beginning."""
    share: Share = 1.0
    offline: SecondsRange = (0.0, 1.0)


class Network(_Part):
    """The line to the CSMS, and how stations deal with its failures."""

    drops: Drops = Drops()
    storms: tuple[Storm, ...] = ()
    backoff_minimum: Seconds = 10.0
    """RetryBackOffWaitMinimum (OCPP 2.x Part 4 section 5.3)."""
    backoff_random: Seconds = 10.0
    """RetryBackOffRandomRange."""
    backoff_repeats: Annotated[int, Field(ge=0, le=16)] = 5
    """RetryBackOffRepeatTimes."""
    message_timeout: Positive = 30.0
    """Real seconds to wait for an answer."""
    message_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    """TransactionMessageAttempts, MessageAttemptsTransactionEvent."""
    message_retry: Seconds = 30.0
    """TransactionMessageRetryInterval, MessageAttemptIntervalTransactionEvent."""
    queue: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Transaction messages a station keeps while offline; beyond it the oldest meter values go."""


class Quirks(_Part):
    """Stations that misbehave."""

    share: Share = 0.0
    """Of stations with quirks of their own."""
    each: Annotated[int, Field(ge=1, le=8)] = 1
    """Quirks such a station has."""
    names: QuirkNames = ()
    """To choose from; none given: all that fit the station's version."""


class Scenario(_Part):
    """One scenario. Shares of `versions` and `models` are relative to their sums."""

    name: str = ""
    description: str = ""
    duration: Seconds = 3600.0
    """Simulated time after which the run ends; 0: when all stations have left."""
    speed: Annotated[float, Field(gt=0, le=100_000)] = 1.0
    """Simulated seconds per second."""
    ramp_up: Positive = 200.0
    """Stations that connect per real second at the beginning."""
    versions: Annotated[dict[Literal["1.6", "2.0.1", "2.1"], Positive], Field(min_length=1)] = {
        "1.6": 60.0,
        "2.0.1": 30.0,
        "2.1": 10.0,
    }
    """Used with `--version mixed`."""
    models: Annotated[tuple[Model, ...], Field(min_length=1)] = (Model(),)
    arrivals: Arrivals = Arrivals()
    cars: Cars = Cars()
    faults: Faults = Faults()
    network: Network = Network()
    quirks: Quirks = Quirks()

    @model_validator(mode="after")
    def _ends(self) -> Scenario:
        if not self.duration and not self.arrivals.visits:
            raise ValueError("a scenario without an end needs arrivals.visits")
        return self


def load(source: str) -> Scenario:
    """A bundled scenario by name, or one from a file (whatever has a dot or a slash in it). Raises ScenarioError."""
    if source in BUNDLED:
        return bundled(source)
    if "." not in source and "/" not in source and not Path(source).exists():
        raise ScenarioError(f"there is no scenario {source!r}: choose {', '.join(BUNDLED)}, or a TOML file")
    try:
        text = Path(source).read_text("utf-8")
    except OSError as error:
        raise ScenarioError(f"the scenario {source} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"the scenario {source} is not UTF-8") from None
    return _parse(text, source)


def bundled(name: str) -> Scenario:
    """A scenario that comes with the package."""
    text = (resources.files("evcore.sim") / "scenarios" / f"{name}.toml").read_text("utf-8")
    return _parse(text, f"{name}.toml")


def _parse(text: str, source: str) -> Scenario:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"the scenario {source} is not TOML: {error}") from None
    values.setdefault("name", Path(source).stem)
    try:
        return Scenario.model_validate(values)
    except ValidationError as error:
        raise ScenarioError(f"the scenario {source}: {_sentence(error)}") from None


def _sentence(error: ValidationError) -> str:
    """The first thing wrong: key, what is allowed there."""
    first: Any = error.errors(include_url=False, include_context=True)[0]
    path = [step for step in first["loc"] if not (isinstance(step, str) and ("[" in step or "-" in step))]
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
    if first["type"] == "extra_forbidden":
        table = _table(path[:-1])
        where = f"in [{'.'.join(str(step) for step in path[:-1] if isinstance(step, str))}]" if path[:-1] else "here"
        return f"there is no key {key}; allowed {where}: {', '.join(table.model_fields)}"
    if first["type"] == "value_error":
        reason = str(first["ctx"]["error"])
        return f"{key} {reason}" if key else reason
    found = repr(first["input"])
    shown = found if len(found) < 60 else f"{found[:56]}…"
    return f"{key} cannot be {shown}: {first['msg'][:1].lower()}{first['msg'][1:]}"


def _table(path: list[str | int]) -> type[BaseModel]:
    """The table a path of keys leads to."""
    tables: dict[str, type[BaseModel]] = {
        "models": Model, "arrivals": Arrivals, "cars": Cars, "faults": Faults, "network": Network, "quirks": Quirks,
        "drops": Drops, "storms": Storm,
    }  # fmt: skip
    named = [step for step in path if isinstance(step, str)]
    return tables[named[-1]] if named else Scenario
