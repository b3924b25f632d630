"""From server processes to the one that holds the bus others see: events one way, orders to stations the other.

`feed` runs in a server, one for each process; `hub` in the process of the bridge, one for all; `protocol` is what they
say to each other over a Unix socket, `listening` makes that. An event that must be kept is acknowledged when the hub's
bus has it safe, and sent again on the next connection until then.
"""
