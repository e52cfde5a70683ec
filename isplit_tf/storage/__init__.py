"""Writing to disk and reading back: whole directories, versioned records, and Keras models."""
