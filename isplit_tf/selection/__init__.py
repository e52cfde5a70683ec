"""The choice of a cut; predicted accuracy, costs, and candidates."""
