"""The paper's experiments, one command each; the statistics say whether its claims hold here."""
