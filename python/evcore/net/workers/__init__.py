"""Several processes on one port: a supervisor, its workers, and who of them owns which station.

`evcore.net.channel` carries messages between them, `ledger` decides ownership, `exchange` and `claims` are the
supervisor's and a worker's side of a change, `supervisor` starts workers and looks after them, `worker` is what runs in
each. Workers know nothing of each other; the supervisor knows identities and counters, never a message of a station.
"""
