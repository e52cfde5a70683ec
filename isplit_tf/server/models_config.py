"""Reading, extending and writing of TensorFlow Serving's list of models, `models.config`.

Its message classes are in a package that needs TensorFlow Serving's own distribution. The few messages that are needed
are described here, under their official names and numbers. A file with other fields is refused; no field is dropped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from ..errors import ArgumentError, BundleError

MODELS_CONFIG = "models.config"
MODELS_FOLDER = "/models"
"""Path at which TensorFlow Serving's official image expects the folder with `models.config`."""

_PACKAGE = "tensorflow.serving"
_SCALARS = {"string": 9, "int64": 3, "uint32": 13}
_MESSAGES: dict[str, list[tuple[str, int, str, bool]]] = {
    "Latest": [("num_versions", 1, "uint32", False)],
    "All": [],
    "Specific": [("versions", 1, "int64", True)],
    "ServableVersionPolicy": [
        ("latest", 100, "Latest", False),
        ("all", 101, "All", False),
        ("specific", 102, "Specific", False),
    ],
    "Label": [("key", 1, "string", False), ("value", 2, "int64", False)],
    "ModelConfig": [
        ("name", 1, "string", False),
        ("base_path", 2, "string", False),
        ("model_platform", 4, "string", False),
        ("model_version_policy", 7, "ServableVersionPolicy", False),
        ("version_labels", 8, "Label", True),
    ],
    "ModelConfigList": [("config", 1, "ModelConfig", True)],
    "ModelServerConfig": [("model_config_list", 1, "ModelConfigList", False)],
}


@dataclass(frozen=True)
class ModelEntry:
    """One model of the list.

    Attributes:
        name: Name of the model, as clients ask for it.
        base_path: The folder of the model's versions, as the server sees it.
        versions: The versions that are served, in ascending order; None if they are not listed one by one.
        labels: Versions by label.
    """

    name: str
    base_path: str
    versions: tuple[int, ...] | None
    labels: Mapping[str, int]


class ModelsConfig:
    """An immutable `ModelServerConfig`; `with_version` returns a changed copy.

    Args:
        message: The protobuf message; an empty list by default.
    """

    def __init__(self, message: Any = None):
        self._message = _new() if message is None else message

    @classmethod
    def parse(cls, text: str) -> "ModelsConfig":
        """Parse the text of a file.

        Raises:
            BundleError: If the text is not a `ModelServerConfig` in text format, or holds unknown fields.
        """
        try:
            return cls(text_format.Parse(text, _new()))
        except text_format.ParseError as error:
            raise BundleError(
                f"{MODELS_CONFIG} cannot be read: {error}. Known are a model_config_list with the name, base_path, "
                "model_platform, model_version_policy and version_labels of each model."
            ) from error

    @property
    def models(self) -> tuple[ModelEntry, ...]:
        """Return the models, in the order of the file."""
        return tuple(_entry(config) for config in self._message.model_config_list.config)

    def find(self, name: str) -> ModelEntry | None:
        """Return the model of this name, or None."""
        return next((model for model in self.models if model.name == name), None)

    def with_version(self, name: str, *versions: int, labels: Mapping[str, int] | None = None) -> "ModelsConfig":
        """Return a copy of the list with further versions of a model; a new model is added.

        Args:
            name: Name of the model.
            versions: Versions to serve in addition to those in the list.
            labels: Versions by label; existing labels are moved.

        Raises:
            ArgumentError: If the versions of the model are not listed one by one, or a label refers to a version that
                is not served.
        """
        message = _new()
        message.CopyFrom(self._message)
        config = next((entry for entry in message.model_config_list.config if entry.name == name), None)
        if config is None:
            config = message.model_config_list.config.add(
                name=name, base_path=f"{MODELS_FOLDER}/{name}", model_platform="tensorflow"
            )
        elif _entry(config).versions is None:
            raise ArgumentError(
                f"{MODELS_CONFIG} chooses the versions of '{name}' by another policy than 'specific', under which an "
                "old version can end while devices still ask for it. Possible: a policy of 'specific' versions."
            )
        listed = config.model_version_policy.specific.versions
        listed[:] = sorted({*listed, *versions})
        all_labels = {**_entry(config).labels, **(labels or {})}
        dangling = {label: version for label, version in all_labels.items() if version not in listed}
        if dangling:
            raise ArgumentError(f"Labels are for versions that are served, {list(listed)}. Received: {dangling}.")
        del config.version_labels[:]
        for label, version in sorted(all_labels.items()):
            config.version_labels.add(key=label, value=version)
        return ModelsConfig(message)

    def __str__(self) -> str:
        return text_format.MessageToString(self._message)


def _entry(config: Any) -> ModelEntry:
    policy = config.model_version_policy
    versions = tuple(sorted(policy.specific.versions)) if policy.HasField("specific") else None
    labels = {label.key: label.value for label in config.version_labels}
    return ModelEntry(config.name, config.base_path, versions, labels)


def _message_class() -> Any:
    """Return the class of `ModelServerConfig`, made in a separate descriptor pool beside the official one."""
    file = descriptor_pb2.FileDescriptorProto(name="isplit_models_config.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            new_field = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in _SCALARS:
                new_field.type = _SCALARS[kind]
            else:
                new_field.type, new_field.type_name = 11, f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.ModelServerConfig"))


_new = _message_class()
