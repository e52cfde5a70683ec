"""The converter of LiteRT: StableHLO from TensorFlow, litert-converter for float32, litert-quantizer for the rest."""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from .conversion import INPUT_NAME, OUTPUT_NAME, SIGNATURE, ConversionFailed, Task, one_by_one


def run_engine(directory: str, task: Task, images: Iterable[np.ndarray], shown: Any) -> bytes:
    """Convert a SavedModel; see `engines.run_converter`."""
    try:
        content = _as_tflite(_as_stablehlo(directory, task))
        if task.precision == "float32":
            return content
        return _quantized(content, task.precision, list(one_by_one(images, shown)))
    except (RuntimeError, ValueError, KeyError, NotImplementedError, tf.errors.OpError) as error:
        raise ConversionFailed(str(error)) from error


def _as_stablehlo(directory: str, task: Task) -> bytes:
    """Return the graph as a serialized StableHLO module, by XLA."""
    module = tf.saved_model.load(directory)
    spec = tf.TensorSpec((1, *task.input_shape), tf.float32, name=INPUT_NAME)

    def latent(x: tf.Tensor) -> tf.Tensor:
        return module.head(x)[OUTPUT_NAME]

    compiled = tf.function(latent, input_signature=[spec], jit_compile=True, autograph=False)
    return compiled.experimental_get_compiler_ir(spec)(stage="stablehlo_serialized")


def _as_tflite(module_bytes: bytes) -> bytes:
    from litert_converter import converter_api_ext as api
    from litert_converter.mlir import ir, passmanager
    from litert_converter.mlir.dialects import stablehlo

    context = ir.Context()
    api.prepare_mlir_context(context)
    try:
        with context:
            module = stablehlo.deserialize_portable_artifact(context, module_bytes)
            api.run_convert_to_tfl_passes(module, passmanager.PassManager(), api.ConvertToTFLConfig())
            api.set_signature(module.operation, SIGNATURE, [INPUT_NAME], [OUTPUT_NAME])
            return bytes(api.export_flatbuffer_to_bytes(module.operation))
    except ir.MLIRError as error:
        raise ConversionFailed(str(error)) from error


def _quantized(content: bytes, precision: str, samples: list[dict[str, np.ndarray]]) -> bytes:
    from litert_quantizer import calibrator, quantizer, recipe_manager
    from litert_quantizer.utils import qsv_utils

    recipe, ranges = _recipe(precision), None
    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors.*")
        if manager.need_calibration():
            # The quantizer's own choice, a moving average of the images' ranges, cuts large values off.
            calibration = calibrator.Calibrator(content, qsv_update_func=qsv_utils.min_max_update)
            calibration.calibrate({SIGNATURE: samples}, manager)
            ranges = calibration.get_model_qsvs()
        return bytes(quantizer.Quantizer(content, recipe).quantize(ranges).quantized_model)


def _recipe(precision: str) -> Any:
    from litert_quantizer import qtyping, recipe, recipe_manager

    makers = {
        "int8": recipe.static_wi8_ai8,
        "int16x8": recipe.static_wi8_ai16,
        "dynamic": recipe.dynamic_wi8_afp32,
    }
    if precision in makers:
        return makers[precision]()
    manager = recipe_manager.RecipeManager()
    halves = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=halves, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
    )
    manager.add_quantization_config(
        ".*", qtyping.TFLOperationName.ALL_SUPPORTED, config, recipe.AlgorithmName.FLOAT_CASTING
    )
    return manager.get_quantization_recipe()
