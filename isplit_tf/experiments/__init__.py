"""The paper's experiments, each with one command, and the statistics that tell whether its claims hold here."""
