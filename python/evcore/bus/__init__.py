"""The bus: every event of a server has a topic and a typed body, and whoever wants it subscribes. docs/events.md."""
