"""The soak: a server under load and bad manners for half an hour, and whether it is then what it was before."""
