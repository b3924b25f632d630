"""The options of `evcore serve`, each once: name, type, default, and the sentence that explains it.

The command line makes its flags of this table and `evcore.settings.model` its fields; both are checked against it. An
option `message_log` is the flag `--message-log`, the environment variable `EVCORE_MESSAGE_LOG` and the TOML key
`message_log`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

__all__ = ["OPTIONS", "Option"]


class Option(NamedTuple):
    """One option. `kind` is the type a flag's text is read as; `choices` are the words it may be; one with `many` may
    be given several times.
    """

    name: str
    kind: type
    default: Any
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    many: bool = False

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    @property
    def shown(self) -> str:
        """The default as people write it."""
        if self.default in (None, ()):
            return "none"
        if isinstance(self.default, tuple):
            return ",".join(map(str, self.default))
        if isinstance(self.default, bool):
            return str(self.default).lower()
        return str(self.default).removesuffix(".0")


def _options() -> Iterator[Option]:
    # Where it listens.
    yield Option("host", str, "127.0.0.1", "Address to listen on; 0.0.0.0 for all.")
    yield Option("port", int, 9000, "Port to listen on; 0 takes a free one.")
    yield Option("http_host", str, "127.0.0.1", "Address of /metrics and /healthz.")
    yield Option("http_port", str, 8080, "Port of /metrics and /healthz; 0 takes a free one, none has none.", "PORT")
    yield Option("workers", int, 1, "Processes that share the port.", "N")
    yield Option("engine", str, "picows", "WebSocket library underneath.", choices=("picows", "websockets"))
    # Who gets in.
    yield Option(
        "unknown",
        str,
        "accept",
        "Stations not named by --stations: let in, or HTTP 404.",
        choices=("accept", "reject"),
    )
    yield Option("stations", str, (), "Identities of the known stations.", "ID,ID…")
    yield Option(
        "subprotocol_mismatch",
        str,
        "reject",
        "No common OCPP version: refuse the upgrade, or upgrade and close.",
        choices=("reject", "close"),
    )
    yield Option("assume_ocpp16", bool, False, "Speak ocpp1.6 with stations that name no subprotocol at all.")
    yield Option("strict_identity", bool, False, "OCPP 2.x identities must be identifierStrings.")
    yield Option("identity_from_user", bool, False, "A path without an identity takes that of the Basic user name.")
    # Security.
    yield Option("security_profile", int, 0, "Lowest security profile that gets in.", "0-3")
    yield Option("credentials", Path, None, "Stations with their hashed passwords, see evcore credential.", "FILE")
    yield Option(
        "unknown_answer",
        str,
        "hide",
        "Unknown stations without proof, where credentials are asked for: as wrong ones, or HTTP 404.",
        choices=("hide", "tell"),
    )
    yield Option("realm", str, "ocpp", "Realm of HTTP Basic authentication.")
    yield Option(
        "certificate_name",
        str,
        "cn",
        "Where a station's certificate names it: common name, alternative names, or both.",
        choices=("cn", "san", "either"),
    )
    yield Option("organisation", str, None, "Organisation that stations' certificates must name.", "NAME")
    yield Option(
        "key_forms",
        str,
        "exact",
        "Whether a key is also taken as the hex digits of what is stored.",
        choices=("exact", "either"),
    )
    yield Option(
        "tls_certificate", Path, (), "Certificate chain as PEM; once more for another kind of key.", "FILE", (), True
    )
    yield Option("tls_key", Path, (), "Private key of each certificate, in the same order.", "FILE", (), True)
    yield Option("tls_client_ca", Path, None, "CAs of the stations' certificates as PEM.", "FILE")
    yield Option("tls_minimum", str, "1.2", "Oldest TLS version spoken.", choices=("1.2", "1.3"))
    yield Option(
        "client_certificate",
        str,
        "optional",
        "With --tls-client-ca: stations may, or must, show a certificate.",
        choices=("optional", "required"),
    )
    # How fast, by worker.
    yield Option("accept_rate", float, 1000.0, "Stations let in per second and worker; 0: no limit.", "N")
    yield Option("accept_burst", int, 2000, "Stations let in at once.", "N")
    yield Option("retry_most", float, 300.0, "Longest Retry-After of those that were not.", "SECONDS")
    yield Option("address_rate", float, 100.0, "Upgrade requests of one address per second; 0: no limit.", "N")
    yield Option("address_burst", int, 1000, "Upgrade requests of one address at once.", "N")
    yield Option("address_unfinished", int, 256, "Handshakes of one address at the same time; 0: no limit.", "N")
    yield Option("unfinished", int, 10_000, "Handshakes of all at the same time; 0: no limit.", "N")
    yield Option("exempt", str, ("127.0.0.0/8", "::1/128"), "Networks not counted by address.", "NET,NET…")
    yield Option("handshake_seconds", float, 10.0, "From the TCP connection to the whole upgrade request.", "SECONDS")
    yield Option("failures", int, 3, "Wrong passwords of a station from one address without a delay.", "N")
    yield Option("identity_failures", int, 20, "The same from all addresses.", "N")
    yield Option("address_failures", int, 100, "The same from one address for all stations.", "N")
    yield Option("failure_delay", float, 1.0, "Delay after one more, doubled for each further one.", "SECONDS")
    yield Option("failure_delay_most", float, 300.0, "Longest delay.", "SECONDS")
    yield Option("failure_memory", float, 900.0, "Without a failure, until counting begins anew.", "SECONDS")
    yield Option("boot_rate", float, 0.0, "Boots accepted per second and worker, others Pending; 0: no limit.", "N")
    yield Option("boot_burst", int, 100, "Boots accepted at once.", "N")
    yield Option("pending_most", int, 600, "Longest interval of a Pending.", "SECONDS")
    # The message side.
    yield Option("heartbeat_interval", int, 300, "Told to booting stations.", "SECONDS")
    yield Option("interval_jitter", float, 0.0, "Share by which the interval told varies.", "SHARE")
    yield Option(
        "boot_gate_ocpp16",
        str,
        "lenient",
        "OCPP 1.6 stations that were not accepted: as any other, held back after Pending or Rejected, refused.",
        choices=("off", "lenient", "strict"),
    )
    yield Option("boot_gate_ocpp2", str, "strict", "The same for OCPP 2.x.", choices=("off", "lenient", "strict"))
    yield Option("max_frame", int, 1024 * 1024, "Largest message; beyond it: close 1009.", "BYTES")
    yield Option(
        "deflate", str, "auto", "permessage-deflate; auto: with OCPP 2.x alone.", choices=("auto", "on", "off")
    )
    yield Option("deflate_window", int, 11, "Base-2 logarithm of its window, 9 to 15.", "BITS")
    yield Option("deflate_least", int, 512, "Smallest message that is compressed.", "BYTES")
    yield Option("ping_interval", float, 0.0, "Silence after which a station is pinged; 0: never.", "SECONDS")
    yield Option("idle_timeout", float, 900.0, "Silence after which a connection is cut; 0: never.", "SECONDS")
    yield Option("max_waiting", int, 1024 * 1024, "May wait for a station that does not read.", "BYTES")
    yield Option("stall_seconds", float, 60.0, "A station may leave unread what it is sent.", "SECONDS")
    yield Option("receive_buffer", int, 64 * 1024, "Kept of what a station sends before it is read.", "BYTES")
    yield Option("backlog", int, 4096, "Connections that may wait to be accepted.", "N")
    yield Option("inbox", int, 64, "CALLs of one station that may wait for their answers.", "N")
    yield Option("queue", int, 64, "CALLs to one station that may wait for their turn.", "N")
    yield Option("call_timeout", float, 30.0, "To wait for a station's answer to a CALL.", "SECONDS")
    yield Option("handler_timeout", float, 60.0, "A handler may take; then InternalError.", "SECONDS")
    # Ends.
    yield Option("drain_seconds", float, 5.0, "Over which stations are told to go at the end.", "SECONDS")
    yield Option("drain_grace", float, 5.0, "Longest wait for handlers and farewells after that.", "SECONDS")
    yield Option(
        "drain_code", str, "1001", "Close code then: going away, or service restart.", choices=("1001", "1012")
    )
    # What is written.
    yield Option("message_log", Path, None, "Write all messages as JSON lines, without secrets.", "FILE")
    yield Option(
        "message_log_max_bytes", int, 64 * 1024 * 1024, "Size at which FILE becomes FILE.1 and starts again.", "BYTES"
    )
    yield Option(
        "log_level", str, "info", "Least severe log lines shown.", choices=("debug", "info", "warning", "error")
    )
    yield Option("table", str, "auto", "Live table of stations; auto: on a terminal.", choices=("auto", "on", "off"))
    yield Option("simulate", int, 0, "Simulate N stations of all versions against this server.", "N")
    yield Option("simulate_speed", float, 60.0, "Simulated seconds per second.", "X")


#: Every option by its name, in the order in which it is listed.
OPTIONS: Final[dict[str, Option]] = {option.name: option for option in _options()}
