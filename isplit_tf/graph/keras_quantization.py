"""Access to Keras' private state of layers that `quantize` changed, which then compute with dequantized weights."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
from keras import ops
from keras.src.quantizers.quantizers import dequantize_with_sz_map, quantize_and_dequantize, unpack_int4

_E4M3 = "float8_e4m3fn"


def is_quantized(layer: keras.layers.Layer) -> bool:
    """Check whether `quantize` changed a layer's weights, or its policy says so."""
    return getattr(layer, "quantization_mode", None) is not None


@contextlib.contextmanager
def dequantized(layers: Iterable[keras.layers.Layer]) -> Iterator[None]:
    """Let layers that `quantize` changed compute in float32: with dequantized weights, on inputs as they come.

    Keras itself rounds the inputs of a layer of "int8", "int4" or "float8" with each call, for which LiteRT has no
    operators. Layers of "gptq" and "awq" have dequantized weights anyway.

    Args:
        layers: Of any kind; those that are not quantized stay as they are.
    """
    calls = {id(layer): (layer, call) for layer in layers if (call := _float_call(layer)) is not None}
    try:
        for layer, call in calls.values():
            vars(layer).update(call=call, quantized_call=call)
        yield
    finally:
        for layer, _ in calls.values():
            for name in ("call", "quantized_call"):
                vars(layer).pop(name, None)


def _float_call(layer: keras.layers.Layer) -> Callable[..., Any] | None:
    """Return what a layer computes with its dequantized weights; None if it is not of a kind that Keras quantizes."""
    if getattr(layer, "quantization_mode", None) not in ("int8", "int4", "float8") or not layer.built:
        return None
    if isinstance(layer, keras.layers.Dense):
        return _linear(layer, _dense_kernel(layer), ops.matmul)
    if isinstance(layer, keras.layers.EinsumDense):
        return _linear(layer, _einsum_kernel(layer), lambda x, kernel: ops.einsum(layer.equation, x, kernel))
    if type(layer) is keras.layers.Embedding:
        table = _embedding_table(layer)

        def look_up(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            return ops.take(table, ops.cast(inputs, "int32"), axis=0)

        return look_up
    return None


def _linear(layer: Any, kernel: Any, multiply: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    kernel = _merged(layer, kernel, "kernel")

    def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        x = multiply(inputs, kernel)
        if layer.bias is not None:
            x = ops.add(x, layer.bias)
        return x if layer.activation is None else layer.activation(x)

    return call


def _merged(layer: Any, weights: Any, name: str) -> Any:
    """Return float32 weights with those of LoRA added, as a constant."""
    weights = ops.cast(weights, "float32")
    if getattr(layer, "lora_enabled", False):
        a, b = (getattr(layer, f"lora_{name}_{part}").value for part in "ab")
        weights = ops.add(weights, (layer.lora_alpha / layer.lora_rank) * ops.matmul(a, b))
    return ops.convert_to_numpy(weights)


def _dense_kernel(layer: Any) -> Any:
    mode = layer.quantization_mode
    if mode == "int8":
        return _divided(layer._kernel, layer.kernel_scale)
    if mode == "int4":
        return _from_four_bits(layer, "kernel", layer._orig_output_dim)
    return _from_float8(layer)


def _einsum_kernel(layer: Any) -> Any:
    mode = layer.quantization_mode
    if mode == "int8":
        return _divided(layer._kernel, layer._adjust_scale_for_dequant(layer.kernel_scale))
    if mode == "int4":
        flat = _from_four_bits(layer, "kernel", layer._int4_unpacked_column_size)
        return ops.reshape(flat, layer.original_kernel_shape)
    return _from_float8(layer)


def _embedding_table(layer: Any) -> Any:
    if layer.quantization_mode == "int8":
        table = _divided(layer._embeddings, ops.expand_dims(layer.embeddings_scale, -1))
    else:
        table = _from_four_bits(layer, "embeddings", layer._orig_output_dim)
    return _merged(layer, table, "embeddings")


def _divided(whole: Any, scale: Any) -> Any:
    return ops.divide(ops.cast(whole, "float32"), ops.cast(scale, "float32"))


def _from_four_bits(layer: Any, name: str, columns: int) -> Any:
    whole = unpack_int4(getattr(layer, f"_{name}"), columns, axis=-1)
    scale = getattr(layer, f"{name}_scale")
    by_row = name == "embeddings"
    if getattr(layer, "_int4_block_size", None) in (None, -1):
        return _divided(whole, ops.expand_dims(scale, -1) if by_row else scale)
    return dequantize_with_sz_map(
        ops.cast(whole, "float32"), scale, getattr(layer, f"{name}_zero"), layer.g_idx, group_axis=-1 if by_row else 0
    )


def _from_float8(layer: Any) -> Any:
    return quantize_and_dequantize(ops.cast(layer._kernel.value, "float32"), layer.kernel_scale.value, _E4M3, "float32")
