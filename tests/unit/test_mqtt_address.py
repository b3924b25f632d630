"""Brokers' URLs: what is taken, what is refused, and that no text shows a password."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evcore.mqtt.broker.address import Address, AddressError


@pytest.mark.parametrize(
    ("url", "expected", "text"),
    [
        ("mqtt://h", Address("mqtt", "h", 1883), "mqtt://h:1883"),
        ("mqtts://h", Address("mqtts", "h", 8883), "mqtts://h:8883"),
        ("ws://h", Address("ws", "h", 80, "/mqtt"), "ws://h:80/mqtt"),
        ("wss://h/a/b", Address("wss", "h", 443, "/a/b"), "wss://h:443/a/b"),
        ("MQTT://Broker.Example:1", Address("mqtt", "broker.example", 1), "mqtt://broker.example:1"),
        ("mqtt://h:65535/", Address("mqtt", "h", 65535), "mqtt://h:65535"),
        ("mqtt://[::1]:1884", Address("mqtt", "::1", 1884), "mqtt://[::1]:1884"),
        ("mqtt://u:p@h", Address("mqtt", "h", 1883, "", "u", "p"), "mqtt://h:1883"),
        ("mqtt://u%40x:p%3A%2F@h", Address("mqtt", "h", 1883, "", "u@x", "p:/"), "mqtt://h:1883"),
        ("mqtt://u@h", Address("mqtt", "h", 1883, "", "u"), "mqtt://h:1883"),
        ("mqtt://:p@h", Address("mqtt", "h", 1883, "", None, "p"), "mqtt://h:1883"),
    ],
)
def test_what_is_taken(url: str, expected: Address, text: str) -> None:
    found = Address.parse(url)
    assert found == expected and str(found) == text
    assert (found.tls, found.websocket) == (url.lower().startswith(("mqtts", "wss")), url.startswith("ws"))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "begins with"),
        ("h", "begins with"),
        ("h:1883", "begins with"),
        ("http://h", "begins with"),
        ("tcp://h", "begins with"),
        ("mqtt://", "no host"),
        ("mqtt://:1883", "no host"),
        ("mqtt://u:p@", "no host"),
        ("mqtt://h:0", "port 0"),
        ("mqtt://h:65536", "ort"),
        ("mqtt://h:x", "ort"),
        ("mqtt://h:-1", "ort"),
        ("mqtt://h/topic", "have a path"),
        ("mqtt://h?x=1", "neither"),
        ("ws://h/mqtt#f", "neither"),
        ("mqtt://h h", "spaces"),
        ("mqtt://[::1", "cannot be read"),
        ("ws://h/a b", "spaces"),
    ],
)
def test_what_is_refused(url: str, why: str) -> None:
    with pytest.raises(AddressError, match=why):
        Address.parse(url)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for url in (text, f"mqtt://{text}", f"wss://u:p@{text}"):
        try:
            found = Address.parse(url)
        except AddressError:
            continue
        assert found.host and 1 <= found.port <= 65535
        assert Address.parse(str(found)) == Address(found.scheme, found.host, found.port, found.path)


@given(st.text(alphabet="gehim%: ", min_size=7, max_size=20))
def test_no_text_shows_a_password(secret: str) -> None:
    for url in (f"mqtt://user:{secret}@host", f"mqtt://user:{secret}@host:port", f"nope://user:{secret}@host"):
        text = shown(url)
        assert secret not in text and unquote(secret) not in text


def shown(url: str) -> str:
    try:
        found = Address.parse(url)
    except AddressError as error:
        return str(error)
    return f"{found!r} {found}"
