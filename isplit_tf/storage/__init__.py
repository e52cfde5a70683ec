"""What is written to disk and read back: whole directories, versioned records, and models."""
