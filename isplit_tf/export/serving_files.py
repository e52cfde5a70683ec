"""The texts beside a SavedModel that set up the official TensorFlow Serving image."""

from collections.abc import Mapping, Sequence

SERVING_IMAGE = "tensorflow/serving:2.21.0"
GRPC_PORT = 8500
REST_PORT = 8501
MODELS_CONFIG = "models.config"
BATCHING_CONFIG = "batching.config"
_MOUNT = "/models"


def models_config(model_name: str, versions: Sequence[int], labels: Mapping[str, int] | None = None) -> str:
    """The server's list of models: exactly these versions are loaded, and may have labels such as "stable".

    A label of a version that is not loaded yet, as all are when a server starts, stops the server unless it runs
    with `--allow_version_labels_for_unavailable_models=true`.

    Args:
        model_name: Name of the model and of its folder.
        versions: Versions to serve.
        labels: Versions by label.

    Returns:
        A `ModelServerConfig` in text format.
    """
    lines = [
        "model_config_list {",
        "  config {",
        f'    name: "{model_name}"',
        f'    base_path: "{_MOUNT}/{model_name}"',
        '    model_platform: "tensorflow"',
        "    model_version_policy {",
        "      specific {",
        *(f"        versions: {version}" for version in versions),
        "      }",
        "    }",
    ]
    for label, version in (labels or {}).items():
        lines += ["    version_labels {", f'      key: "{label}"', f"      value: {version}", "    }"]
    return "\n".join([*lines, "  }", "}", ""])


def batching_config(max_batch: int) -> str:
    """How the server joins requests of different devices: at once, or after 2 ms, up to `max_batch` images.

    Returns:
        `BatchingParameters` in text format.
    """
    return (
        f"max_batch_size {{ value: {max_batch} }}\n"
        "batch_timeout_micros { value: 2000 }\n"
        "max_enqueued_batches { value: 1000 }\n"
    )


def compose_yaml() -> str:
    """The official image on a bundle's `serving/` folder, mounted read-only, with gRPC and REST ports.

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
      - --model_config_file={_MOUNT}/{MODELS_CONFIG}
      - --allow_version_labels_for_unavailable_models=true
      - --enable_batching=true
      - --batching_parameters_file={_MOUNT}/{BATCHING_CONFIG}
    ports:
      - "{GRPC_PORT}:{GRPC_PORT}" # gRPC
      - "{REST_PORT}:{REST_PORT}" # REST
    volumes:
      - ./serving:{_MOUNT}:ro
    restart: unless-stopped
"""
