"""What it costs to bring a station's message to an MQTT broker, and what gets lost on the way when things break."""
