"""Simulated stations: the same endpoint in the station's role, with a scenario and a plausible car."""
