"""Export of a split: the `.tflite` head, the SavedModel tail, and the bundle that holds both."""
