"""The tail for TensorFlow Serving: SavedModel, graph of the wire format, warm-up and configuration."""
