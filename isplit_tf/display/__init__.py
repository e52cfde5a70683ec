"""Tables, HTML pages and progress bars; and suppression of native output."""
