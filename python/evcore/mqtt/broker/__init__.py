"""One broker: its addresses, the connection to it, what is in flight there, and whether its session is still ours."""
