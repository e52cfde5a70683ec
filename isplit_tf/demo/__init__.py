"""The whole story on the embedded glyphs; with its report."""
