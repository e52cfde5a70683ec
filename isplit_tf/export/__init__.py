"""From a split model to what a device and a server run: `.tflite`, SavedModel, and the bundle that holds both."""
