"""Tables, HTML pages and progress bars; and a converter kept quiet."""
