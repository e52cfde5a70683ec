"""The predictions of a model on data, and their accuracy; of Keras models, splits, bundles and clients alike."""
