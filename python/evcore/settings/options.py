"""The options of `evcore serve` and `evcore bridge`, each once: name, type, default, and the sentence that explains it.

The command line makes its flags of these tables and `evcore.settings.model` its fields; both are checked against them.
An option `message_log` is the flag `--message-log`, the environment variable `EVCORE_MESSAGE_LOG` and the TOML key
`message_log`. Passwords are no flags: everybody may read the command lines of a machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

__all__ = ["BRIDGE", "MQTT", "OPTIONS", "TOPICS", "Option"]


class Option(NamedTuple):
    """One option. `kind` is the type a flag's text is read as; `choices` are the words it may be; one with `many` may
    be given several times. `absent`: what holds where there is no value. A `secret` is never repeated, `has_flag` says
    whether it may stand on the command line all the same. `panel`: the heading it stands under in the help.
    """

    name: str
    kind: type
    default: Any
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    many: bool = False
    absent: str = "none"
    secret: bool = False
    has_flag: bool = True
    panel: str | None = None

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    @property
    def shown(self) -> str:
        """The default as people write it."""
        if self.default in (None, (), "", {}):
            return self.absent
        if isinstance(self.default, tuple):
            return ",".join(map(str, self.default))
        if isinstance(self.default, bool):
            return str(self.default).lower()
        return str(self.default).removesuffix(".0")


def _serve() -> Iterator[Option]:
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
    # What others hear of it.
    yield Option("feed", Path, None, "Socket of an evcore bridge that is to have all events.", "FILE")
    yield Option("feed_wait", float, 10.0, "An event that must be kept waits for the bridge.", "SECONDS")


def _bridge() -> Iterator[Option]:
    yield Option("feed", Path, Path("evcore.sock"), "Socket to listen on; evcore serve --feed connects to it.", "FILE")
    for name in ("http_host", "http_port", "log_level"):
        yield OPTIONS[name]


def _mqtt() -> Iterator[Option]:
    # The broker.
    yield Option(
        "mqtt",
        str,
        (),
        "Broker to connect to: mqtt, mqtts, ws or wss; or several of one cluster.",
        "URL,URL…",
        secret=True,
    )
    yield Option("mqtt_version", str, "5", "MQTT version spoken.", choices=("5", "3.1.1"))
    yield Option("mqtt_node", str, None, "Name of this bridge in topics.", "NAME", absent="the host name")
    yield Option(
        "mqtt_client_id", str, None, "Client identifier.", "ID", absent="evcore, the node and a name kept in the spool"
    )
    yield Option("mqtt_username", str, None, "User name, where the URL has none.", "NAME")
    yield Option("mqtt_password", str, None, "Password, where the URL has none.", secret=True, has_flag=False)
    yield Option(
        "mqtt_password_file", Path, None, "File whose first line is the password, read before each connection.", "FILE"
    )
    yield Option(
        "mqtt_password_command", str, None, "Program that prints the password, run before each connection.", "COMMAND"
    )
    yield Option("mqtt_ca", Path, None, "CAs of the broker's certificate as PEM.", "FILE", absent="those of the system")
    yield Option("mqtt_certificate", Path, None, "Certificate chain to show the broker, as PEM.", "FILE")
    yield Option("mqtt_key", Path, None, "Its private key.", "FILE", absent="in the file of the certificate")
    yield Option("mqtt_key_password", str, None, "Password of that key.", secret=True, has_flag=False)
    yield Option("mqtt_verify", bool, True, "Ask for the broker's certificate, and check it.")
    # The connection.
    yield Option("mqtt_keepalive", int, 30, "Silence after which the broker is pinged.", "SECONDS")
    yield Option("mqtt_session_expiry", int, 86_400, "The broker keeps what it has for us (MQTT 5).", "SECONDS")
    yield Option("mqtt_window", int, 20, "Messages on the way to the broker; at most 10 with 3.1.1.", "N")
    yield Option("mqtt_receive_maximum", int, 100, "Commands on the way from the broker (MQTT 5).", "N")
    yield Option("mqtt_receive_bytes", int, 1024 * 1024, "Largest packet that is taken.", "BYTES")
    yield Option("mqtt_connect_timeout", float, 10.0, "To connect.", "SECONDS")
    yield Option("mqtt_ack_timeout", float, 60.0, "The broker may leave a message unacknowledged.", "SECONDS")
    yield Option(
        "mqtt_backoff_first", float, 1.0, "Longest wait before the second attempt, doubled for each.", "SECONDS"
    )
    yield Option("mqtt_backoff_most", float, 60.0, "Longest wait between two attempts.", "SECONDS")
    yield Option("mqtt_stable_after", float, 30.0, "Age at which a connection counts as stable.", "SECONDS")
    yield Option("mqtt_early_ends", int, 5, "Ends before that in a row that tell of a second client; 0: never.", "N")
    yield Option("mqtt_doubt", bool, True, "Send anew what a broker that was gone had half at QoS 2.")
    yield Option("mqtt_shuffle", bool, True, "Try several brokers in random order.")
    yield Option("mqtt_refusals", int, 10, "Attempts at a message the broker refuses for now.", "N")
    yield Option("mqtt_will_delay", int, 0, "From a lost connection to the will (MQTT 5).", "SECONDS")
    yield Option("mqtt_telemetry_waiting", int, 1024 * 1024, "Telemetry that may wait for the socket.", "BYTES")
    yield Option("mqtt_flush_seconds", float, 10.0, "For the broker to take what is left at the end.", "SECONDS")
    # What must not be lost.
    yield Option("mqtt_spool", Path, Path("evcore-mqtt.db"), "File of messages not delivered yet.", "FILE")
    yield Option("mqtt_spool_bytes", int, 1024**3, "Messages it may hold.", "BYTES")
    yield Option("mqtt_spool_age", float, 0.0, "Age at which a message is dropped; 0: never.", "SECONDS")
    yield Option("mqtt_spool_reserve", int, 16 * 1024**2, "Kept free on its disk: below, it takes no more.", "BYTES")
    yield Option("mqtt_spool_memory", int, 32 * 1024**2, "Messages held in memory, of all it holds.", "BYTES")
    yield Option(
        "mqtt_durability",
        str,
        "full",
        "What is kept survives a power cut, or a kill of the process alone.",
        choices=("full", "normal"),
    )
    # What is published.
    yield Option("mqtt_mode", str, "json", "Messages, single values, or both.", choices=("json", "flat", "both"))
    yield Option(
        "mqtt_qos", str, {}, "QoS of a class.", "CLASS=QOS,…", absent="telemetry=0,status=1,command=1,billing=2"
    )
    yield Option("mqtt_classes", str, {}, "Class of a kind of event.", "KIND=CLASS,…", absent="as in events.md")
    yield Option(
        "mqtt_retain", str, {}, "Whether messages of a topic are retained.", "TOPIC=BOOL,…", absent="as in the table"
    )
    yield Option("mqtt_tokens", bool, False, "Publish drivers' tokens.")
    yield Option("mqtt_telemetry_expiry", int, 300, "Age at which the broker drops telemetry; 0: never.", "SECONDS")
    yield Option(
        "mqtt_raw", str, "off", "OCPP frames: out from stations, in to them.", choices=("off", "in", "out", "both")
    )
    yield Option("mqtt_prefix", str, "", "Levels before each topic.", "TOPIC")
    for name, template, what in TOPICS:
        yield Option(f"mqtt_topic_{name}", str, template, f"Topic of {what}.", "TOPIC")
    yield Option("mqtt_sites", str, {}, "Stations of a site, * and ? in their identities.", "SITE=ID|ID…,…")
    yield Option("mqtt_site_interval", float, 60.0, "Between two messages about a site.", "SECONDS")
    yield Option("mqtt_site_stale", float, 900.0, "Age at which a power counts no more for its site.", "SECONDS")
    yield Option("mqtt_heartbeat_interval", float, 30.0, "Between two heartbeats of this node; 0: none.", "SECONDS")
    yield Option("mqtt_discovery", bool, False, "Tell Home Assistant of the stations.")
    yield Option("mqtt_discovery_prefix", str, "homeassistant", "Topic of its discovery.", "TOPIC")
    yield Option(
        "mqtt_grace", float, 10.0, "Stations may come back after a restart before they are offline.", "SECONDS"
    )
    yield Option("mqtt_pace", float, 500.0, "Messages per second when all is published again.", "N")
    yield Option("mqtt_values_waiting", int, 100_000, "Values that may wait for the broker at QoS 0, by topic.", "N")

    # What may be commanded.
    yield Option("mqtt_commands", str, (), "Actions clients may ask for, * for any.", "ACTION|STATION:ACTION,…")
    yield Option("mqtt_replies", str, (), "Topics they may have results sent to.", "FILTER,…")
    yield Option("mqtt_command_lifetime", float, 60.0, "A command is good for that does not say.", "SECONDS")
    yield Option("mqtt_command_longest", float, 86_400.0, "A command is good for at most.", "SECONDS")
    yield Option("mqtt_command_timeout", float, 300.0, "It may give a station at most.", "SECONDS")
    yield Option(
        "mqtt_reconnecting", float, 60.0, "From the start, for stations to come back before commands fail.", "SECONDS"
    )
    yield Option("mqtt_command_bytes", int, 262_144, "Largest command.", "BYTES")
    yield Option("mqtt_result_bytes", int, 262_144, "Largest result with the station's answer in it.", "BYTES")
    yield Option("mqtt_station_queue", int, 64, "Commands of one station at a time.", "N")
    yield Option("mqtt_queue", int, 10_000, "Commands of all stations at a time.", "N")
    yield Option("mqtt_answers", float, 20.0, "Commands refused or repeated with an answer, per second; 0: all.", "N")
    yield Option("mqtt_answers_burst", int, 200, "The same at once.", "N")
    yield Option("mqtt_commands_kept", float, 86_400.0, "Results are known to commands that come again.", "SECONDS")


#: Topic template, its default, what it is of.
TOPICS: Final = (
    ("status", "chargers/{station}/status", "a station's state"),
    ("metrics", "chargers/{station}/metrics", "its readings"),
    ("events", "chargers/{station}/events", "all else that happens"),
    ("availability", "chargers/{station}/availability", "whether it is online"),
    ("command", "chargers/{station}/command", "commands for it"),
    ("result", "chargers/{station}/result", "their results"),
    ("device", "devices/{device}/{type}/{instance}/{field}", "single values"),
    ("site", "sites/{site}/energy", "a site's power and energy"),
    ("heartbeat", "system/heartbeat/{node}", "this node's heartbeats"),
    ("node", "system/availability/{node}", "whether this node is connected"),
    ("raw", "ocpp/{station}/{direction}", "OCPP frames"),
    ("raw_call", "ocpp/{station}/call", "CALLs as frames"),
)


def _table(*parts: Iterable[Option]) -> dict[str, Option]:
    return {option.name: option for part in parts for option in part}


#: The options about MQTT, the same for both commands.
MQTT: Final = _table(option._replace(panel="MQTT") for option in _mqtt())
#: Every option of `evcore serve` by its name, in the order in which it is listed.
OPTIONS: Final = _table(_serve(), MQTT.values())
#: The same of `evcore bridge`.
BRIDGE: Final = _table(_bridge(), MQTT.values())
