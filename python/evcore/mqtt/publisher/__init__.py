"""From events of the bus to messages for the broker: which, where, how, and what is said again when it was away."""
