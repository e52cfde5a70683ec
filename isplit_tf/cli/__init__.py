"""The commands of `isplit`; their options, and what each runs."""
