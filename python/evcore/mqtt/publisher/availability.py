"""Who is there: this node by birth, will and farewell, each station by a topic of its own.

In: names. Out: retained messages `online` and `offline`. A connection to a broker has one will only, so a consumer that
wants to know of a station looks at two topics: the node's and the station's.

The notes of the spool tell which stations were called online last; after a restart those that do not come back are
called offline.
"""

from __future__ import annotations

from typing import Final

from evcore.mqtt.message import Message
from evcore.mqtt.publisher.options import PublishOptions
from evcore.mqtt.topics import Topics

__all__ = ["NOTE", "OFFLINE", "ONLINE", "birth", "farewell"]

ONLINE: Final = b"online"
OFFLINE: Final = b"offline"

#: Before the identity of a station that was called online, in the notes; the value is its OCPP version.
NOTE: Final = "online/"


def birth(options: PublishOptions) -> Message:
    """For `SessionOptions.birth`: this node is there."""
    return _node(options, ONLINE)


def farewell(options: PublishOptions) -> Message:
    """For `SessionOptions.will` and `SessionOptions.farewell`: this node is gone."""
    return _node(options, OFFLINE)


def _node(options: PublishOptions, payload: bytes) -> Message:
    # At least once, whatever the class of status is: nothing else says that all stations' states are old.
    qos = max(1, options.qos_of("status"))
    return Message(Topics(options.topics).node(options.node), payload, qos, options.retained("node"))
