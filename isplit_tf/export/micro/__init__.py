"""Heads for microcontrollers: C sources, memory needs, and the search for a cut that fits."""
