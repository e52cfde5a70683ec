"""The demo: the whole story on the embedded glyphs, with its report."""
