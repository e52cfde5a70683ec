"""What people see: tables, the HTML page, progress bars, and a converter kept quiet."""
