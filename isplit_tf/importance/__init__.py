"""How much each cut matters; scores, the one backward pass, statistics, the curve."""
