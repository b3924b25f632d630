"""Experiments that decided something; README.md says what is kept here."""
