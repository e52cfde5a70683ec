"""The configuration files of the official TensorFlow Serving image."""

from ...server.models_config import MODELS_CONFIG, MODELS_FOLDER, ModelsConfig

SERVING_IMAGE = "tensorflow/serving:2.21.0"
GRPC_PORT = 8500
REST_PORT = 8501
BATCHING_CONFIG = "batching.config"
STABLE = "stable"
POLL_S = 30


def models_config(model_name: str, version: int) -> str:
    """Return `models.config` for one bundle: exactly its version, which also has the label "stable".

    A label of a version that is not loaded yet, as all are when a server starts, stops the server unless it runs
    with `--allow_version_labels_for_unavailable_models=true`.

    Args:
        model_name: Name of the model and of its folder.
        version: To serve.

    Returns:
        A `ModelServerConfig` in text format.
    """
    return str(ModelsConfig().with_version(model_name, version, labels={STABLE: version}))


def batching_config(max_batch: int) -> str:
    """Return `batching.config`: requests are joined for at most 2 ms, up to `max_batch` images.

    Returns:
        `BatchingParameters` in text format.
    """
    return (
        f"max_batch_size {{ value: {max_batch} }}\n"
        "batch_timeout_micros { value: 2000 }\n"
        "max_enqueued_batches { value: 1000 }\n"
    )


def compose_yaml() -> str:
    """Return `compose.yaml`: the official image with a bundle's `serving/` folder, read-only, and gRPC and REST ports.

    Returns:
        A compose file, to stand beside `serving/`.
    """
    return f"""\
# The official TensorFlow Serving image on this bundle: docker compose up
# TensorFlow Serving has neither encryption nor passwords of its own: put a proxy in front of it on an open network.
services:
  serving:
    image: {SERVING_IMAGE}
    command:
      - --model_config_file={MODELS_FOLDER}/{MODELS_CONFIG}
      - --model_config_file_poll_wait_seconds={POLL_S} # a version that is published is loaded while the others go on
      - --allow_version_labels_for_unavailable_models=true
      - --enable_batching=true
      - --batching_parameters_file={MODELS_FOLDER}/{BATCHING_CONFIG}
    ports:
      - "{GRPC_PORT}:{GRPC_PORT}" # gRPC
      - "{REST_PORT}:{REST_PORT}" # REST
    volumes:
      - ./serving:{MODELS_FOLDER}:ro
    restart: unless-stopped
"""
