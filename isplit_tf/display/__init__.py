"""Display for people: tables, HTML pages, progress bars, and suppression of native output."""
