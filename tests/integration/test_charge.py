"""Whole charges by stations nobody here wrote: the `ocpp` package's ChargePoint, on both engines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import ocpp.v16
import ocpp.v16.call
import ocpp.v21
import ocpp.v21.call
import ocpp.v201
import ocpp.v201.call
import pytest
from websockets.asyncio.client import connect

NOW = "2026-03-01T10:00:00Z"


@contextlib.asynccontextmanager
async def charge_point(url: str, module: Any, version: str) -> AsyncIterator[Any]:
    async with connect(f"{url}/CP%201", subprotocols=[version]) as socket:
        assert socket.subprotocol == version
        station = module.ChargePoint("CP 1", socket, response_timeout=10)
        listening = asyncio.create_task(station.start())
        try:
            yield station
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


def energy(value: str) -> dict[str, Any]:
    return {"timestamp": NOW, "sampled_value": [{"value": value, "measurand": "Energy.Active.Import.Register"}]}


async def test_v16(serving, engine) -> None:
    call = ocpp.v16.call
    async with serving(engine) as server, charge_point(server.url, ocpp.v16, "ocpp1.6") as station:
        boot = await station.call(call.BootNotification("Model", "Vendor"), suppress=False)
        assert (boot.status, boot.interval) == ("Accepted", 300)
        for status in ("Available", "Preparing"):
            await station.call(call.StatusNotification(1, "NoError", status), suppress=False)
        heartbeat = await station.call(call.Heartbeat(), suppress=False)
        assert heartbeat.current_time.endswith("Z")
        authorized = await station.call(call.Authorize("04A1B2"), suppress=False)
        assert authorized.id_tag_info["status"] == "Accepted"
        started = await station.call(call.StartTransaction(1, "04A1B2", 1000, NOW), suppress=False)
        assert started.transaction_id > 0
        number = started.transaction_id
        await station.call(call.MeterValues(1, [energy("3500")], number), suppress=False)

        live = server.csms.stations["CP 1"]
        assert (live.vendor, live.model, live.version) == ("Vendor", "Model", "ocpp1.6")
        assert live.transactions[str(number)].energy == 2500

        stopped = await station.call(
            call.StopTransaction(4200, NOW, number, reason="Local", id_tag="04A1B2", transaction_data=[energy("4200")]),
            suppress=False,
        )
        assert stopped.id_tag_info["status"] == "Accepted"
        assert not live.transactions
        assert live.last_transaction.energy == 3200
        await station.call(call.StatusNotification(1, "NoError", "Available"), suppress=False)
        transferred = await station.call(call.DataTransfer("com.example"), suppress=False)
        assert transferred.status == "UnknownVendorId"
        assert live.violations == 0


async def test_transaction_ids_are_unique_over_stations(serving) -> None:
    call = ocpp.v16.call
    async with serving() as server, charge_point(server.url, ocpp.v16, "ocpp1.6") as station:
        ids = set()
        for second in range(20):
            started = await station.call(call.StartTransaction(1, "A", 0, f"2026-03-01T10:00:{second:02}Z"))
            ids.add(started.transaction_id)
        assert len(ids) == 20
        assert min(ids) > 0


@pytest.mark.parametrize(("module", "version"), [(ocpp.v201, "ocpp2.0.1"), (ocpp.v21, "ocpp2.1")])
async def test_v2(serving, engine, module, version) -> None:
    call = module.call
    token = {"id_token": "04A1B2", "type": "ISO14443"}

    def event(kind: str, reason: str, seq: int, wh: float, **more: Any) -> Any:
        return call.TransactionEvent(
            event_type=kind,
            timestamp=NOW,
            trigger_reason=reason,
            seq_no=seq,
            transaction_info={"transaction_id": "tx-1"},
            evse={"id": 1, "connector_id": 1},
            meter_value=[
                {
                    "timestamp": NOW,
                    "sampled_value": [
                        {
                            "value": wh / 1000,
                            "measurand": "Energy.Active.Import.Register",
                            "unit_of_measure": {"unit": "kWh"},
                        }
                    ],
                }
            ],
            **more,
        )

    async with serving(engine) as server, charge_point(server.url, module, version) as station:
        boot = await station.call(
            call.BootNotification({"model": "Model", "vendor_name": "Vendor"}, "PowerUp"), suppress=False
        )
        assert boot.status == "Accepted"
        await station.call(
            call.StatusNotification(timestamp=NOW, connector_status="Occupied", evse_id=1, connector_id=1),
            suppress=False,
        )
        authorized = await station.call(call.Authorize(token), suppress=False)
        assert authorized.id_token_info["status"] == "Accepted"
        first = await station.call(event("Started", "Authorized", 0, 1000, id_token=token), suppress=False)
        assert first.id_token_info["status"] == "Accepted"
        await station.call(event("Updated", "MeterValuePeriodic", 1, 2250), suppress=False)
        live = server.csms.stations["CP 1"]
        assert live.transactions["tx-1"].energy == 1250
        await station.call(event("Ended", "EVDeparted", 2, 3000), suppress=False)
        assert not live.transactions
        assert live.last_transaction.energy == 2000
        await station.call(
            call.NotifyReport(
                request_id=1,
                generated_at=NOW,
                seq_no=0,
                report_data=[
                    {
                        "component": {"name": "OCPPCommCtrlr"},
                        "variable": {"name": "HeartbeatInterval"},
                        "variable_attribute": [{"value": "300"}],
                    }
                ],
            ),
            suppress=False,
        )
        await station.call(call.SecurityEventNotification(type="StartupOfTheDevice", timestamp=NOW), suppress=False)
        await station.call(call.FirmwareStatusNotification(status="Idle"), suppress=False)
        transferred = await station.call(call.DataTransfer(vendor_id="com.example", data={"any": [1]}), suppress=False)
        assert transferred.status == "UnknownVendorId"
        assert live.violations == 0
