"""The whole workflow on the embedded glyphs; with a report."""
