"""Every action of every version, sent by a station: requests made from the schemas, answers judged by jsonschema."""

from __future__ import annotations

import json
import random

import jsonschema
import pytest
from actions import BY_STATION, FOLDERS, actions, instance, schema

from evcore.csms.tables import tables


def test_the_tables_hold_exactly_what_stations_send() -> None:
    assert {version: set(table.actions) for version, table in tables().items()} == BY_STATION
    for version, sent in BY_STATION.items():
        assert sent <= actions(version)


@pytest.mark.parametrize("version", FOLDERS)
@pytest.mark.parametrize("optional", [0.0, 0.5, 1.0])
async def test_every_action(serving, version, optional) -> None:
    rng = random.Random(f"{version} {optional}")
    suffix = FOLDERS[version][1]
    async with serving() as server, server.station(version) as station:
        for number, action in enumerate(sorted(actions(version))):
            request_schema, answer_schema = schema(version, action + suffix), schema(version, f"{action}Response")
            for attempt in range(3):
                payload = instance(rng, request_schema, request_schema, optional)
                jsonschema.Draft6Validator(request_schema).validate(payload)
                message_id = f"{number}-{attempt}"
                reply = await station.ask([2, message_id, action, payload])
                if action in BY_STATION[version]:
                    assert reply[:2] == [3, message_id], (action, payload, reply)
                    jsonschema.Draft6Validator(
                        answer_schema, format_checker=jsonschema.Draft6Validator.FORMAT_CHECKER
                    ).validate(reply[2])
                else:
                    assert reply == [4, message_id, "NotSupported", "this action is not supported here", {}]
        assert server.csms.stations["CP1"].violations == 0


async def test_sends_of_21_are_taken_and_not_answered(serving, until) -> None:
    rng = random.Random(1)
    stream = schema("ocpp2.1", "NotifyPeriodicEventStream")
    async with serving() as server, server.station("ocpp2.1") as station:
        payload = instance(rng, stream, stream, 1.0)
        await station.socket.send(json.dumps([6, "s", "NotifyPeriodicEventStream", payload]))
        await until(lambda: server.csms.stations["CP1"].last_action == "NotifyPeriodicEventStream")
        assert server.csms.stations["CP1"].violations == 0
        assert await station.is_usable()
