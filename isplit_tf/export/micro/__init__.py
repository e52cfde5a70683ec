"""Heads for microcontrollers: C sources, arena, and what fits."""
