"""Directories, records and models on disk; whole or not at all, each with a version."""
