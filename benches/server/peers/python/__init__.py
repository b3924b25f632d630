"""The servers in Python, each on uvloop."""
