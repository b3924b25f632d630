"""Benches of the server: what a message, a connection, a handshake and a bad day cost, beside the servers others wrote.

``python -m benches.server`` measures and prints; docs/capacity.md shows the figures. Peers are real processes on real
sockets; clients are the same for all of them.
"""
