"""The commands of `isplit`; their options, and the functions that run them."""
