"""Encoder and decoder between head and tail; trained, or fitted in closed form, and quantized."""
