"""The linter of logs, over both backends: what it finds in a line, whose it is, what it judges, what it bounds.

Verdicts on frames come from `evcore.Codec`, which reads them on another way; those on chunks from the log in one piece.
"""

from __future__ import annotations

import json
from collections import Counter
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evcore.check.lint import Options, linter_for
from evcore.codec import codec_class
from evcore.errors import FrameError, PayloadError
from evcore.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable

BOOT = {"chargePointVendor": "Acme", "chargePointModel": "One"}
ACCEPTED = {"status": "Accepted", "currentTime": "2026-01-01T00:00:00Z", "interval": 300}
METER = {"connectorId": 1, "meterValue": [{"timestamp": "2026-01-01T00:00:00Z", "sampledValue": [{"value": "1"}]}]}
COUNTS = ("frames", "calls", "results", "errors", "sends", "unpaired", "bad_frames", "violating", "violations")


def lint(
    backend: Any, log: bytes | Iterable[bytes], version: str = "ocpp1.6", **options: Any
) -> tuple[dict[str, int], dict[tuple[str, ...], tuple[int, int]], list[Any]]:
    """Counts; (kind, action, pointer, keyword) -> (count, first line); makers."""
    linter = linter_for(Options(version, backend=backend, **options))
    for chunk in (log,) if isinstance(log, bytes) else log:
        linter.feed(chunk)
    findings, makers, _ = linter.finish()
    found: dict[tuple[str, ...], tuple[int, int]] = {}
    for finding in sorted(findings, key=lambda finding: finding[9]):
        key = finding[2:6]
        count, line = found.get(key, (0, finding[9]))
        found[key] = (count + finding[8], line)
    return linter.counts, found, makers


def everything(
    backend: Any, chunks: Iterable[bytes], version: str | None = "ocpp1.6", **options: Any
) -> tuple[Any, ...]:
    """All that a linter says, in one order."""
    linter = linter_for(Options(version, backend=backend, values=True, **options))
    for chunk in chunks:
        linter.feed(chunk)
    findings, makers, versions = linter.finish()
    return linter.counts, sorted(findings, key=repr), makers, versions


def text(*frame: Any) -> str:
    return json.dumps(list(frame), separators=(",", ":"))


def quoted(line: str) -> str:
    """As it stands inside of a JSON string."""
    return json.dumps(line)[1:-1]


# The styles of logs


def bare(station: str, way: str, frame: str) -> str:
    return frame


def spaced(station: str, way: str, frame: str) -> str:
    return "  " + json.dumps(json.loads(frame)) + "\r"


def ocpp_package(station: str, way: str, frame: str) -> str:
    verb = {"in": "receive message", "out": "send"}[way]
    return f"INFO:ocpp:{station}: {verb} {frame}"


def home_assistant(station: str, way: str, frame: str) -> str:
    verb = {"in": "receive message", "out": "send"}[way]
    return f"2026-01-02 10:00:00.123 INFO (MainThread) [ocpp] {station}: {verb} {frame}"


def steve(station: str, way: str, frame: str) -> str:
    verb = {"in": "Received", "out": "Sending"}[way]
    where = "de.rwth.idsg.steve.ocpp.ws.WebSocketLogger (qtp12-34)"
    return f"[INFO ] 2026-01-02 10:00:00,123 {where} - [chargeBoxId={station}, sessionId=7f] {verb}: {frame}"


def ocpp_go(station: str, way: str, frame: str) -> str:
    words = {"in": "received JSON message from", "out": "sent JSON message to"}[way]
    return f'time="2026-01-02T10:00:00Z" level=debug msg="{words} {station}: {quoted(frame)}" logger=ocppj'


def message_log(station: str, way: str, frame: str) -> str:
    return json.dumps({"time": "2026-01-02T10:00:00.000Z", "station": station, "direction": way, "frame": frame})


def frame_member(station: str, way: str, frame: str) -> str:
    return json.dumps({"message": json.loads(frame), "charge_point_id": station, "dir": way})


def container(station: str, way: str, frame: str) -> str:
    return json.dumps({"log": message_log(station, way, frame) + "\n", "stream": "stdout"})


def logged_as_json(station: str, way: str, frame: str) -> str:
    return json.dumps({"level": "info", "logger": "ocpp", "message": ocpp_package(station, way, frame)})


NAMING = (ocpp_package, home_assistant, steve, ocpp_go, message_log, frame_member, container, logged_as_json)
STYLES = (bare, spaced, *NAMING)
each_style = pytest.mark.parametrize("style", STYLES, ids=lambda style: style.__name__)
each_naming_style = pytest.mark.parametrize("style", NAMING, ids=lambda style: style.__name__)


@each_style
def test_frames_of_a_style_are_found_and_paired(backend: Any, style: Any) -> None:
    lines = [
        "some line without a frame, [INFO] and {braces}",
        style("CP1", "in", text(2, "a", "BootNotification", BOOT)),
        style("CP1", "out", text(3, "a", ACCEPTED | {"interval": "soon"})),
        style(
            "CP1",
            "in",
            text(2, "ü", "StatusNotification", {"connectorId": 0, "errorCode": 'No"Err\\or', "status": "Ü"}),
        ),
        style("CP1", "in", text(4, "z", "InternalError", "", {})),
        style("CP1", "in", text(3, "nobody asked", {})),
    ]
    counts, found, makers = lint(backend, "\n".join(lines).encode())
    assert {name: counts[name] for name in COUNTS} == {
        "frames": 5, "calls": 2, "results": 2, "errors": 1, "sends": 0, "unpaired": 1,
        "bad_frames": 0, "violating": 2, "violations": 3,
    }  # fmt: skip
    assert found == {
        ("result", "BootNotification", "/interval", "type"): (1, 3),
        ("call", "StatusNotification", "/errorCode", "enum"): (1, 4),
        ("call", "StatusNotification", "/status", "enum"): (1, 4),
    }
    assert makers == [("Acme", "One", 1, 5, 2)]


@each_naming_style
def test_stations_and_directions_are_told_apart(backend: Any, style: Any) -> None:
    """The same message id is used by two stations and in both directions at once."""
    lines = [
        style("CP1", "in", text(2, "1", "Heartbeat", {})),
        style("CP2", "in", text(2, "1", "BootNotification", BOOT)),
        style("CP1", "out", text(2, "1", "Reset", {"type": "Soft"})),
        style("CP2", "out", text(3, "1", {})),
        style("CP1", "in", text(3, "1", {})),
        style("CP1", "out", text(3, "1", {})),
        style("CP1", "out", text(3, "1", {})),
    ]
    counts, found, makers = lint(backend, "\n".join(lines).encode())
    assert counts["unpaired"] == 1
    assert found == {
        ("result", "BootNotification", "", "required"): (3, 4),
        ("result", "Reset", "", "required"): (1, 5),
        ("result", "Heartbeat", "", "required"): (1, 6),
    }
    assert makers == [("Acme", "One", 1, 2, 1)]


@pytest.mark.parametrize(
    ("version", "payload"),
    [
        ("ocpp1.6", BOOT),
        ("ocpp2.0.1", {"reason": "PowerUp", "chargingStation": {"vendorName": "Acme", "model": "One"}}),
        ("ocpp2.1", {"reason": "PowerUp", "chargingStation": {"vendorName": "Acme", "model": "One"}}),
    ],
)
def test_makers_come_from_boot_notifications(backend: Any, version: str, payload: Any) -> None:
    boot = text(2, "1", "BootNotification", payload)
    bad = text(2, "2", "BootNotification", {**payload, "x": 1})
    lines = [
        ocpp_package("CP1", "in", boot),
        ocpp_package("CP2", "in", bad),
        ocpp_package("CP3", "in", text(3, "9", {})),
    ]
    _, found, makers = lint(backend, "\n".join(lines).encode(), version)
    assert makers == [("Acme", "One", 2, 2, 1)]
    assert found == {("call", "BootNotification", "/x", "additionalProperties"): (1, 2)}


def test_a_station_is_the_maker_s_it_named_last(backend: Any) -> None:
    boots = [
        text(2, "1", "BootNotification", BOOT),
        text(2, "2", "BootNotification", BOOT | {"chargePointModel": "Two"}),
    ]
    _, _, makers = lint(backend, "\n".join([*boots, text(2, "3", "Nonsense", {})]).encode())
    assert makers == [("Acme", "One", 0, 1, 0), ("Acme", "Two", 1, 2, 1)]


@pytest.mark.parametrize(
    "line",
    [
        '[9,"id",{}]', '[2,5,"Heartbeat",{}]', '["2","id","Heartbeat",{}]', '[2]x,[2,"a"]', ' [2 , "id"]',
        '[2,"",{},{}]', '\ufeff[7,"x",{}]  \r',
    ],
)  # fmt: skip
def test_what_is_meant_to_be_a_frame_is_judged_as_one(backend: Any, line: str) -> None:
    counts, _, _ = lint(backend, line.encode())
    assert (counts["frames"], counts["bad_frames"]) == (1, 1)


@pytest.mark.parametrize(
    "line",
    [
        "", " ", "[]", "[INFO] started", "[2024-01-01] [12] x", "[1234,5]", '[12,34] not "closed', "{}",
        '{"a":[1,"x"]}', r'[2,\\"a", even backslashes escape nothing', "[[[[[", '"', "\\", "[2", "[2,",
        'then [7,"id",{}]',
    ],
)  # fmt: skip
def test_what_is_no_frame_is_left_alone(backend: Any, line: str) -> None:
    counts, found, _ = lint(backend, line.encode())
    assert (counts["frames"], found) == (0, {})


def test_the_first_frame_of_a_line_counts_and_text_behind_it_does_not(backend: Any) -> None:
    line = text(2, "1", "Heartbeat", {}) + " and " + text(2, "2", "Nonsense", {}) + "]]}"
    counts, found, _ = lint(backend, line.encode())
    assert (counts["frames"], found) == (1, {})


@pytest.mark.parametrize("style", [bare, ocpp_package], ids=lambda style: style.__name__)
def test_a_frame_may_go_over_several_lines(backend: Any, style: Any) -> None:
    """Some stations send pretty-printed frames, and logs show them as they are."""
    frame = '[3,"a",\n{\n"status": "Accepted",\r\n"currentTime": "now",\n"interval": 300\n}]'
    lines = [style("CP1", "out", text(2, "a", "BootNotification", BOOT)), style("CP1", "out", frame), "more", ""]
    counts, found, _ = lint(backend, "\n".join(lines).encode())
    assert (counts["frames"], counts["lines"]) == (2, 8)
    assert list(found) == ([("result", "BootNotification", "/currentTime", "format")] if style is bare else [])


@pytest.mark.parametrize(
    ("log", "keywords"),
    [
        ('[2,"1","Heart', {"json": 1}),
        ('[2,"1","Heartbeat",{\nno JSON\n' + text(2, "2", "Heartbeat", {}), {"json": 1}),
        ('[2,"1","Heartbeat",{\n' * 3, {"json": 3}),
        ('[2,"1","Heartbeat",{"a":"\n"}]', {"json": 1}),
    ],
)
def test_torn_frames_are_findings(backend: Any, log: str, keywords: dict[str, int]) -> None:
    _, found, _ = lint(backend, log.encode())
    assert Counter({key[3]: count for key, (count, _) in found.items()}) == keywords


def test_frames_that_their_log_cut_are_counted_apart(backend: Any) -> None:
    cut = json.dumps({"station": "CP1", "direction": "in", "frame": '[2,"1","DataTransfer",{"data":"xxx', "cut": True})
    torn = cut.replace("true", "false")
    counts, found, _ = lint(backend, f"{cut}\n{torn}\n{cut.replace(' ', '')}".encode())
    assert (counts["cut"], counts["frames"]) == (2, 1)
    assert found == {("frame", "", "", "json"): (1, 2)}


# Against the codec

FRAMES = [
    *(text(2, "a", "BootNotification", BOOT), text(3, "a", ACCEPTED), text(3, "a", ACCEPTED)),
    *(text(2, "b", "MeterValues", METER), text(3, "b", {}), text(2, "b", "MeterValues", METER | {"connectorId": -1})),
    *(text(4, "b", "GenericError", "", {}), text(3, "b", {}), text(2, "c", "Nonsense", {}), text(3, "c", {"x": 1})),
    *(text(2, "d", "Heartbeat", None), text(3, "d", None), text(2, "e", "Heartbeat", []), text(3, "e", [])),
    *(
        '[2,"f","Heartbeat",{"a":1,"a":2}]',
        '[2,"g","Heartbeat",{}',
        text(2, "h" * 40, "Heartbeat", {}),
        text(5, "a", "", ""),
    ),
    *(text(6, "i", "NotifyPeriodicEventStream", {}), text(2, "\u00e9", "Heartbeat", {}), text(3, "\u00e9", {})),
    '[2,"j","DataTransfer",{"vendorId":"' + "x" * 256 + '"}]',
]


def by_codec(backend: Any, version: str, frames: list[str]) -> tuple[Counter[str], Counter[tuple[str, ...]]]:
    """Counts and findings as one would get them from a codec and a dict of calls."""
    codec = codec_class(backend)(version)
    calls: dict[str, str] = {}
    counts: Counter[str] = Counter()
    found: Counter[tuple[str, ...]] = Counter()
    kinds = {2: "calls", 3: "results", 4: "errors", 5: "errors", 6: "sends"}
    for frame in frames:
        counts["frames"] += 1
        try:
            message = codec.decode(frame, judge=False)
        except FrameError as error:
            counts["bad_frames"] += 1
            found["frame", "", "", error.reason] += 1
            continue
        counts[kinds[message.kind]] += 1
        action = None
        if message.kind in (3, 4):
            action = calls.pop(message.id, None)
            counts["unpaired"] += action is None and message.kind == 3
        elif message.kind == 2:
            calls[message.id] = message.action
        try:
            codec.decode(frame, action=None if action == "Nonsense" or message.kind != 3 else action)
        except PayloadError as error:
            counts["violating"] += 1
            counts["violations"] += len(error.violations)
            kind = {2: "call", 3: "result", 6: "send"}[message.kind]
            for violation in error.violations:
                pointer = "/".join("*" if step.isdigit() else step for step in violation.pointer.split("/"))
                found[kind, action or message.action, pointer, violation.keyword] += 1
    return counts, found


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"])
@settings(max_examples=50, deadline=None)
@given(frames=st.lists(st.sampled_from(FRAMES), max_size=30))
def test_verdicts_are_the_codec_s(version: str, frames: list[str]) -> None:
    for name in ("pure", "native"):
        backend = pytest.importorskip(f"evcore._{name}")
        counts, found, _ = lint(backend, "\n".join(frames).encode(), version)
        wanted_counts, wanted = by_codec(backend, version, frames)
        assert {key: count for key, (count, _) in found.items()} == wanted
        assert {name: counts[name] for name in COUNTS} == {name: wanted_counts[name] for name in COUNTS}


# Chunks, and one backend against the other

SCRAPS = [
    *(
        "\n",
        "\r\n",
        "[",
        "]",
        "{",
        "}",
        '"',
        "\\",
        "\\\\",
        ",",
        ":",
        "2",
        " ",
        "\x00",
        "\x1b[0m",
        "ü",
        "\U0001f600",
        "\t",
    ),
    *('[2,"', '[2,\\"', '[3,\\\\\\"', '"cut": true', '"station":"', "station", "chargeBoxId=", ": send ", "Received: "),
    *(
        "\\u00e9",
        "\\ud83d\\ude00",
        "\\ud800",
        "\\u12",
        "\\x",
        "1e999",
        "-0",
        "null",
        '"dir":"dir":"in"',
        "\ufeff",
        " from CP9: ",
    ),
]
frames_of_a_log = st.sampled_from(
    [*FRAMES, '[2,"k","Heartbeat",{\n}]', '[2,"k","StatusNotification",{"connectorId":-0.5,"status":"\\ud83d\\ude00"}]']
)
lines_of_a_log = st.builds(
    lambda style, station, way, frame: style(station, way, frame),
    st.sampled_from([style for style in STYLES if style not in (spaced, frame_member)]),
    st.sampled_from(["CP1", "CP 2", "Ü", "a:b", "ACME-0001-00002", "x" * 192, "x" * 193, ""]),
    st.sampled_from(["in", "out"]),
    frames_of_a_log,
)


@st.composite
def logs(draw: st.DrawFn) -> bytes:
    """Lines of all styles, with scraps and raw bytes put in and pieces taken out anywhere."""
    log = "\n".join(draw(st.lists(lines_of_a_log, max_size=8))).encode()
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(log)))
        scrap = draw(st.one_of(st.sampled_from(SCRAPS).map(str.encode), st.binary(max_size=3)))
        log = log[:at] + scrap + log[at + draw(st.integers(0, 4)) :]
    return log


@st.composite
def split_logs(draw: st.DrawFn) -> list[bytes]:
    log = draw(logs())
    cuts = sorted(draw(st.lists(st.integers(0, len(log)), max_size=8)))
    return [log[start:end] for start, end in zip([0, *cuts], [*cuts, len(log)])]


SMALL = {"limits": Limits(frame_bytes=150, depth=5, id_chars=36, string_bytes=60), "open_calls": 2, "findings": 3}


@settings(max_examples=300, deadline=None)
@given(chunks=split_logs(), version=st.sampled_from([None, "ocpp1.6", "ocpp2.1"]), options=st.sampled_from([{}, SMALL]))
def test_chunks_and_backends_make_no_difference(chunks: list[bytes], version: str | None, options: Any) -> None:
    pure = everything(import_module("evcore._pure"), [b"".join(chunks)], version, **options)
    assert everything(import_module("evcore._pure"), chunks, version, **options) == pure
    native = pytest.importorskip("evcore._native")
    # Which findings are kept when there is room for few depends on nothing but their order.
    assert everything(native, chunks, version, **options) == pure


def test_byte_by_byte(backend: Any) -> None:
    log = "\n".join(
        style("CP1", "in", frame) for style in (ocpp_go, message_log, bare) for frame in FRAMES[:5]
    ).encode()
    log = log.replace(b"Accepted", "Äccepted".encode()) + b"\n\xff\xfe"
    assert everything(backend, [log[at : at + 1] for at in range(len(log))]) == everything(backend, [log])


# Bounds


def test_a_line_beyond_its_limit_is_reported_and_not_kept(backend: Any) -> None:
    limits = Limits(frame_bytes=1000)
    good = text(2, "1", "Heartbeat", {}).encode()
    chunk = b"x" * 1000
    log = [good, b"\n", good[:5], *([chunk] * 500), good, b"\n"]
    log += [good.ljust(4000), b"\n", good.ljust(4001), b"\n"]
    counts, found, _ = lint(backend, log, limits=limits)
    assert (counts["lines"], counts["long_lines"], counts["frames"], counts["bad_frames"]) == (4, 2, 2, 0)
    assert found == {("frame", "", "", "limit"): (2, 2)}


def test_a_long_line_at_the_end_is_reported(backend: Any) -> None:
    counts, _, _ = lint(backend, [b"x" * 5000], limits=Limits(frame_bytes=1000))
    assert (counts["lines"], counts["long_lines"]) == (1, 1)


def test_a_frame_in_several_lines_is_given_up_where_it_cannot_go_on(backend: Any) -> None:
    """A string does not go over the end of a line: nothing behind it is waited for."""
    log = '[2,"1","DataTransfer",{\n"data":"x\n' + "y\n" * 1000
    _, found, _ = lint(backend, log.encode(), limits=Limits(frame_bytes=200))
    assert found == {("frame", "", "", "json"): (1, 1)}
    _, found, _ = lint(backend, log.replace('"x', "").encode(), limits=Limits(frame_bytes=200))
    assert found == {("frame", "", "", "limit"): (1, 1)}


@pytest.mark.parametrize(("length", "named"), [(1, True), (192, True), (193, False)])
@pytest.mark.parametrize("style", [message_log, steve, ocpp_package, ocpp_go], ids=lambda style: style.__name__)
def test_names_of_stations_are_bounded(backend: Any, style: Any, length: int, named: bool) -> None:
    """Two stations use one message id; where their names are too long to be names, they are one station."""
    frames = [("A", text(2, "1", "Heartbeat", {})), ("B", text(2, "1", "StatusNotification", {}))]
    log = "\n".join(style(letter * length, "in", frame) for letter, frame in frames)
    log += "\n" + style("A" * length, "out", text(3, "1", {}))
    _, found, _ = lint(backend, log.encode())
    assert (("result", "Heartbeat", "", "required") in found) is named


def test_a_frame_beyond_its_limit_is_a_bad_frame(backend: Any) -> None:
    frame = text(2, "1", "DataTransfer", {"vendorId": "v", "data": "x" * 1000}).encode()
    for log in (frame, b'log: "' + json.dumps(frame.decode()).encode()[1:], frame.replace(b"{", b"{\n", 1)):
        _, found, _ = lint(backend, log, limits=Limits(frame_bytes=len(frame) - 1))
        assert found == {("frame", "", "", "limit"): (1, 1)}, log


def test_open_calls_are_bounded_and_the_oldest_goes_first(backend: Any) -> None:
    calls = [text(2, str(number), "Heartbeat", {}) for number in range(5)]
    # 0 is asked again, so 1 is the oldest.
    log = "\n".join([*calls[:3], calls[0], calls[3], *(text(3, str(number), {}) for number in range(4))])
    counts, found, _ = lint(backend, log.encode(), open_calls=3)
    assert counts["unpaired"] == 1
    assert found == {("result", "Heartbeat", "", "required"): (3, 6)}
    counts, _, _ = lint(backend, log.encode(), open_calls=4)
    assert counts["unpaired"] == 0


def test_many_open_calls_are_forgotten_in_order(backend: Any) -> None:
    log = b"".join(b'[2,"%d","Heartbeat",{}]\n' % number for number in range(2000))
    log += b"".join(b'[3,"%d",{}]\n' % number for number in range(2000))
    counts, found, _ = lint(backend, log, open_calls=100)
    assert counts["unpaired"] == 1900
    assert found == {("result", "Heartbeat", "", "required"): (100, 3901)}


def test_kinds_of_findings_are_bounded_and_the_rest_counted(backend: Any) -> None:
    log = "\n".join(text(2, str(number), f"Nonsense{number % 10}", {}) for number in range(30)).encode()
    counts, found, _ = lint(backend, log, findings=4)
    assert counts["violations"] == 30
    assert counts["further"] == 18
    assert sum(count for count, _ in found.values()) == 12
    assert len(found) == 4


def test_names_of_the_peer_s_are_cut(backend: Any) -> None:
    log = text(2, "1", "N" * 1000, {}) + "\n" + text(2, "2", "Heartbeat", {"m" * 1000: {"a~b/c": 1}})
    _, found, _ = lint(backend, log.encode())
    assert list(found) == [
        ("call", "N" * 64 + "…", "", "action"),
        ("call", "Heartbeat", "/" + "m" * 199 + "…", "additionalProperties"),
    ]


@pytest.mark.parametrize(
    ("member", "shown"),
    [
        ('"idTag":"' + "T" * 21 + '"', '"' + "T" * 21 + '"'),
        ('"idTag":' + "1" * 100, "1" * 80 + "…"),
        ('"idTag":1.50', "1.50"),
        ('"idTag":null', "null"),
        ('"idTag":true', "true"),
        ('"idTag":"\\u001b[31mX\\ud83d\\ude00Y\\"' + "Z" * 20 + '"', '"\\u001b[31mX\U0001f600Y\\"' + "Z" * 20 + '"'),
        ('"idTag":["secret"]', None),
        ('"other/~":-0', "0"),
    ],
)
def test_values_are_shown_when_asked_for(backend: Any, member: str, shown: str | None) -> None:
    frame = f'[2,"1","Authorize",{{{member}}}]'.encode()
    for values in (True, False):
        linter = linter_for(Options("ocpp1.6", backend=backend, values=values))
        linter.feed(frame)
        finding = linter.finish()[0]
        assert {
            value for *_, keyword, _, _, _, _, value in (entry[4:] for entry in finding) if keyword != "required"
        } == {shown if values else None}


def test_a_linter_ends_once(backend: Any) -> None:
    linter = linter_for(Options("ocpp1.6", backend=backend))
    linter.feed(b'[2,"1","Nonsense",{}]')
    assert linter.counts["frames"] == 0
    first = linter.finish()
    assert linter.finish() == first
    assert linter.counts["frames"] == 1
    with pytest.raises(RuntimeError):
        linter.feed(b"")


def test_schemas_are_compiled_when_they_are_needed(backend: Any) -> None:
    asked: list[tuple[str, str, str]] = []

    def load(version: str, kind: str, action: str) -> Any:
        asked.append((version, kind, action))
        return backend.Program(b'{"type":"object"}', version=version)

    linter = backend.Linter(
        {"ocpp2.1": {"call": ("A", "B"), "result": ("A", "B"), "send": ()}},
        load,
        limits=tuple(Limits()),
        line_bytes=1000,
        open_calls=10,
        findings=10,
        values=False,
    )
    linter.feed(b'[2,"1","A",{}]\n[2,"2","A",{}]\n[3,"1",{}]\n[3,"9",{}]\n')
    assert asked == [("ocpp2.1", "call", "A"), ("ocpp2.1", "result", "A")]


@pytest.mark.parametrize("programs", [{}, {f"ocpp2.{number}": {} for number in range(4)}])
def test_a_linter_has_one_to_three_versions(backend: Any, programs: Any) -> None:
    with pytest.raises(ValueError):
        backend.Linter(programs, print, limits=tuple(Limits()), line_bytes=1, open_calls=1, findings=1, values=False)


# Versions

OLD = [
    text(2, "1", "BootNotification", BOOT),
    text(2, "2", "StopTransaction", {"meterStop": 1, "timestamp": "2026-01-01T00:00:00Z", "transactionId": 1}),
]
NEW_BOOT = {"reason": "PowerUp", "chargingStation": {"vendorName": "Acme", "model": "Two"}}
STARTED = {
    "eventType": "Started",
    "timestamp": "2026-01-01T00:00:00Z",
    "triggerReason": "Authorized",
    "seqNo": 0,
    "transactionInfo": {"transactionId": "t"},
}
NEW = [text(2, "1", "BootNotification", NEW_BOOT), text(2, "2", "TransactionEvent", STARTED)]
NEWEST = [
    *NEW,
    text(
        6,
        "3",
        "NotifyPeriodicEventStream",
        {"id": 1, "pending": 0, "basetime": "2026-01-01T00:00:00Z", "data": [{"t": 1, "v": "1"}]},
    ),
]
HEARTBEAT = text(2, "h", "Heartbeat", {})
# A common mistake in 1.6, where data is a string; right in 2.x.
ODD_DATA = text(2, "o", "DataTransfer", {"vendorId": "v", "data": {"a": 1}})


def spoken(backend: Any, frames: Iterable[tuple[str, str]]) -> tuple[dict[str, int], dict[str, int]]:
    """(station, frame) -> frames by version; violations by version."""
    log = "\n".join(ocpp_package(station, "in", frame) for station, frame in frames).encode()
    _, findings, _, versions = everything(backend, [log], None)
    broken: Counter[str] = Counter()
    for finding in findings:
        broken[finding[0]] += finding[8]
    return {version: count for version, count in versions if count}, dict(broken)


@pytest.mark.parametrize(
    ("frames", "versions", "broken"),
    [
        (OLD * 3, {"ocpp1.6": 6}, {}),
        (NEW * 3, {"ocpp2.0.1": 6}, {}),
        ([HEARTBEAT] * 3, {"ocpp1.6": 3}, {}),
        # Not told apart from 2.0.1 by its first frames, then taken by 2.1 alone.
        ([*NEW * 5, NEWEST[2], *NEW], {"ocpp2.0.1": 10, "ocpp2.1": 3}, {}),
        ([*OLD, ODD_DATA, *OLD, ODD_DATA, *OLD, ODD_DATA], {"ocpp1.6": 9}, {"ocpp1.6": 3}),
        ([*NEW, OLD[1], *NEW], {"ocpp2.0.1": 5}, {"ocpp2.0.1": 1}),
        # One frame is not enough to settle it.
        ([ODD_DATA, *OLD * 2], {"ocpp2.0.1": 1, "ocpp1.6": 4}, {}),
        # An update: a BootNotification of the other version begins anew.
        ([*OLD * 5, *NEW * 5], {"ocpp1.6": 10, "ocpp2.0.1": 10}, {}),
        ([*OLD * 5, NEW[1], *OLD], {"ocpp1.6": 13}, {"ocpp1.6": 1}),
        # Nobody takes the first frame: it is judged by the version it comes nearest to.
        ([text(2, "1", "BootNotification", {**NEW_BOOT, "x": 1})], {"ocpp2.0.1": 1}, {"ocpp2.0.1": 1}),
        ([text(2, "1", "BootNotification", {**BOOT, "x": 1})], {"ocpp1.6": 1}, {"ocpp1.6": 1}),
    ],
)
def test_a_station_is_judged_by_the_version_it_speaks(
    backend: Any, frames: list[str], versions: dict[str, int], broken: dict[str, int]
) -> None:
    assert spoken(backend, [("CP1", frame) for frame in frames]) == (versions, broken)


def test_stations_of_all_versions_may_be_in_one_log(backend: Any) -> None:
    frames = [pair for frame in range(2) for pair in (("A", OLD[frame]), ("B", NEW[frame]), ("C", NEWEST[frame + 1]))]
    assert spoken(backend, [*frames * 5, ("A", ODD_DATA), ("B", OLD[1])]) == (
        {"ocpp1.6": 11, "ocpp2.0.1": 12, "ocpp2.1": 9},
        {"ocpp1.6": 1, "ocpp2.0.1": 1},
    )


def test_a_station_that_says_nothing_of_its_version_is_judged_as_the_others(backend: Any) -> None:
    assert spoken(backend, [*(("A", frame) for frame in NEW), ("B", HEARTBEAT)])[0] == {"ocpp2.0.1": 3}


def test_an_answer_is_judged_by_the_version_of_its_station(backend: Any) -> None:
    lines = [ocpp_package("CP1", "in", frame) for frame in NEW * 3]
    lines += [ocpp_package("CP1", "in", NEW[0]), ocpp_package("CP1", "out", text(3, "1", ACCEPTED | {"x": 1}))]
    _, findings, _, _ = everything(backend, ["\n".join(lines).encode()], None)
    assert [(finding[0], finding[3:5]) for finding in findings] == [("ocpp2.0.1", ("BootNotification", "/x"))]
