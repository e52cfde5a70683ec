"""Bottlenecks between head and tail: trained, fitted in closed form, and quantized."""
