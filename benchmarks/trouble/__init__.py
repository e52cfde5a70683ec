"""Tests of a real bundle, client and server under faults, load and abuse; `tests/` runs short ones, `faults.py` all.

Every part returns a `Row`: what was done, how often, the outcomes, and the errors, of which there must be none.
"""
