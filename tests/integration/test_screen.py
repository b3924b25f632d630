"""What people see: the live table and the log lines, with stations that would like to draw on the screen themselves."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from evcore.cli.table import render

ESCAPE = "\x1b[31m\x07\r\n\u202eFAKE"
BOOT = {"chargePointVendor": "[bold]V[/]", "chargePointModel": "M\x1b[31m\u202e"}


def drawn(server, height: int = 40) -> str:
    console = Console(width=160, height=height, force_terminal=False)
    with console.capture() as captured:
        console.print(render(server.csms, server.url, height))
    return captured.get()


async def test_table(serving, until) -> None:
    async with serving() as server:
        assert "no station has connected yet" in drawn(server)
        async with server.station("ocpp1.6", "%5Bred%5DCP") as station:
            await station.ask([2, "1", "BootNotification", BOOT])
            for connector, status in ((0, "Faulted"), (1, "Charging")):
                state = {"connectorId": connector, "errorCode": "NoError", "status": status}
                await station.ask([2, status, "StatusNotification", state])
            start = {"connectorId": 1, "idTag": "A", "meterStart": 1000, "timestamp": "2026-03-01T10:00:00Z"}
            number = (await station.ask([2, "4", "StartTransaction", start]))[2]["transactionId"]
            sample = {"timestamp": "2026-03-01T10:00:00Z", "sampledValue": [{"value": "3.5", "unit": "kWh"}]}
            await station.ask(
                [2, "5", "MeterValues", {"connectorId": 1, "transactionId": number, "meterValue": [sample]}]
            )
            await station.ask([2, "6", "Authorize", {}])
            screen = drawn(server)
            assert "1 of 1 online" in screen
            (row,) = (line for line in screen.splitlines() if "[red]CP" in line)
            cells = [cell.strip() for cell in row.strip("│").split("│")]
            assert cells[:4] == ["[red]CP", "1.6", "Charging", "[bold]V[/], M�[31m�"]
            assert cells[4].endswith("MeterValues")
            assert cells[5:] == ["12", "1", str(number), "2.50 kWh"]
        await until(lambda: server.csms.stations["[red]CP"].connection is None)
        assert "offline" in drawn(server)
        assert "0 of 1 online" in drawn(server)


async def test_table_of_more_stations_than_fit(serving) -> None:
    async with serving() as server:
        for number in range(12):
            async with server.station("ocpp1.6", f"CP{number:02}") as station:
                assert await station.is_usable()
        screen = drawn(server, height=12)
        assert len(screen.splitlines()) <= 12
        assert "CP11" in screen, "the last heard of"
        assert "CP00" not in screen
        assert "and 8 more" in screen


async def test_transaction_ids_are_shown_as_text(serving) -> None:
    event = {"eventType": "Started", "transactionInfo": {"transactionId": ESCAPE * 20}}
    async with serving() as server, server.station("ocpp2.0.1") as station:
        assert (await station.ask([2, "1", "TransactionEvent", event]))[0] == 3
        assert len(next(iter(server.csms.stations["CP1"].transactions))) <= 64
        assert not set(ESCAPE[:7]) & set(drawn(server)) - set("[31m\n")


@pytest.mark.parametrize("frame", [
    [2, "1", "Heartbeat", {ESCAPE: 1}],
    [2, "1", ESCAPE, {}],
    [2, "1", "MeterValues", {ESCAPE * 500: 1}],
    [2, ESCAPE, "Heartbeat", {}],
    [4, "1", ESCAPE, ESCAPE, {}],
])  # fmt: skip
async def test_log_lines_are_lines(serving, frame, caplog) -> None:
    async with serving() as server, server.station() as station:
        await station.socket.send(json.dumps(frame))
        if frame[0] == 2:
            await station.answer()
        assert await station.is_usable()
    for record in caplog.records:
        message = record.getMessage()
        assert message.isprintable()
        assert len(message) < 400


async def test_a_flood_of_bad_frames_is_not_a_flood_of_lines(serving, caplog) -> None:
    async with serving() as server, server.station() as station:
        for _ in range(500):
            await station.socket.send('[2,"a","NoSuchAction",{}]')
        for _ in range(500):
            await station.answer()
        assert server.csms.stations["CP1"].violations == 500
    assert caplog.text.count("refused") < 100
