"""Directories, records and models on disk; written whole or not at all, with format versions."""
