"""Faults, load and abuse against a real bundle, client and server; the tests run them short, `faults.py` long.

Every part returns a `Row`: what was done how often, what came of it, and what went wrong, which must be nothing.
"""
