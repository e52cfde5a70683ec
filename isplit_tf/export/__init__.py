"""Export to device and server; the `.tflite` head, the SavedModel tail, and the bundle that holds both."""
