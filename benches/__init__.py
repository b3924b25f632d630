"""Benches of the codec: the same frames, the same answers, one run, everybody in it.

``python -m benches`` measures and prints, ``python -m benches.gate`` passes or fails. Nothing here is installed with
the package; what is measured is whatever ``import evcore`` finds.
"""
