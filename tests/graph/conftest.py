"""Architectures of keras.applications, each built once."""

import functools

import keras
import pytest


@pytest.fixture(scope="session")
def application():
    """`application("ResNet50")`: an architecture with random weights, at 32x32 where it can be so small."""

    @functools.cache
    def build(name: str, side: int = 32) -> keras.Model:
        return getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=10)

    return build
