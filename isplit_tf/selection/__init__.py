"""Which cut to take; predicted accuracy, costs, and candidates."""
