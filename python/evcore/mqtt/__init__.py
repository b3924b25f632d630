"""The bridge to an MQTT broker: events out, commands in, nothing lost that was acknowledged. See docs/mqtt.md."""
