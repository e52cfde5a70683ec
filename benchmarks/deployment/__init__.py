"""Plans on trial: what they predict beside what real processes need over a real, shaped link."""
