"""The servers that are measured, each a program of its own: Python here, Go and Node in their folders.

Every one of them listens on free ports of the loopback address, prints one line of JSON, port by OCPP version, and
answers BootNotification, Heartbeat, StatusNotification, MeterValues and TransactionEvent with the least its schema
allows. The bare echoes answer every text message with itself.
"""
