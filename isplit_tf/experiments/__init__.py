"""The paper's experiments, each with one command; the statistics tell whether its claims hold here."""
