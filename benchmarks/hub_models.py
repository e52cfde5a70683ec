"""Image classifiers of KerasHub, with random weights, as small as their architectures allow.

Each architecture has three rows: the classifier as KerasHub builds it; its backbone for images of any size inside a
model of fixed size, as transfer learning does; and the classifier with its preprocessor, which acts in `predict` alone.
"""

from typing import Any

FORMS = ("classifier", "backbone", "classifier with preprocessor")
_VARYING = (None, None, 3)
_MOBILENET_V3 = {  # the small one
    "stackwise_expansion": [[16], [72, 88], [96, 240, 240], [120, 144], [288, 576, 576]],
    "stackwise_num_blocks": [1, 2, 3, 2, 3],
    "stackwise_num_filters": [[16], [24, 24], [40, 40, 40], [48, 48], [96, 96, 96]],
    "stackwise_kernel_size": [[3], [3, 3], [5, 5, 5], [5, 5], [5, 5, 5]],
    "stackwise_num_strides": [[2], [2, 1], [2, 1, 1], [1, 1], [2, 1, 1]],
    "stackwise_se_ratio": [[0.25], [None, None], [0.25, 0.25, 0.25], [0.25, 0.25], [0.25, 0.25, 0.25]],
    "stackwise_activation": [["relu"], ["relu"] * 2, ["hard_swish"] * 3, ["hard_swish"] * 2, ["hard_swish"] * 3],
    "stackwise_padding": [[1], [1, 1], [2, 2, 2], [2, 2], [2, 2, 2]],
    "output_num_filters": 1024,
    "input_activation": "hard_swish",
    "output_activation": "hard_swish",
    "input_num_filters": 16,
    "depthwise_filters": 8,
    "depthwise_stride": 2,
    "depthwise_residual": False,
    "squeeze_and_excite": 0.5,
    "last_layer_filter": 288,
}
_MOBILENET_V5 = {
    "stackwise_block_types": [["er"], ["uir", "uir"]],
    "stackwise_num_blocks": [1, 2],
    "stackwise_num_filters": [[24], [48, 48]],
    "stackwise_strides": [[2], [2, 1]],
    "stackwise_act_layers": [["relu"], ["relu", "relu"]],
    "stackwise_exp_ratios": [[4.0], [6.0, 6.0]],
    "stackwise_se_ratios": [[0.0], [0.0, 0.0]],
    "stackwise_dw_kernel_sizes": [[0], [5, 5]],
    "stackwise_dw_start_kernel_sizes": [[0], [0, 0]],
    "stackwise_dw_end_kernel_sizes": [[0], [0, 0]],
    "stackwise_exp_kernel_sizes": [[3], [0, 0]],
    "stackwise_pw_kernel_sizes": [[1], [0, 0]],
    "stackwise_num_heads": [[0], [0, 0]],
    "stackwise_key_dims": [[0], [0, 0]],
    "stackwise_value_dims": [[0], [0, 0]],
    "stackwise_kv_strides": [[0], [0, 0]],
    "stackwise_use_cpe": [[False], [False, False]],
    "use_msfa": False,
}
_RESNET = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 128, 256, 512],
    "stackwise_num_strides": [1, 2, 2, 2],
}
_EFFICIENTNET = {
    "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
    "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
    "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
    "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
    "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
    "stackwise_squeeze_and_excite_ratios": [0.25] * 7,
    "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
    "stackwise_block_types": ["v1"] * 7,
    "stackwise_width_coefficients": [1.0] * 7,
    "stackwise_depth_coefficients": [1.0] * 7,
}
_XCEPTION = {
    "stackwise_conv_filters": [
        [32, 64],
        [128, 128],
        [256, 256],
        [728, 728],
        [728, 728, 728],
        [728, 1024],
        [1536, 2048],
    ],
    "stackwise_pooling": [False, True, True, True, False, True, False],
}
_CSPNET = {
    "stem_filters": 32,
    "stem_kernel_size": 3,
    "stem_strides": 1,
    "stackwise_depth": [1, 2, 4],
    "stackwise_strides": [1, 2, 2],
    "stackwise_num_filters": [32, 64, 128],
}
_CROSSING = {"block_type": "dark_block", "stage_type": "csp", "bottle_ratio": [0.5], "expand_ratio": [2.0]}
_HGNETV2 = {
    "depths": [1, 2, 4],
    "embedding_size": 32,
    "hidden_sizes": [64, 128, 256],
    "stem_channels": [3, 16, 32],
    "hidden_act": "relu",
    "use_learnable_affine_block": False,
    "stackwise_stage_filters": [(32, 16, 64, 1, 1, 3), (64, 32, 128, 2, 1, 3), (128, 64, 256, 4, 1, 3)],
    "apply_downsample": [False, True, True],
    "use_lightweight_conv_block": [False, False, False],
}
_SWIN = {"embed_dim": 32, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}
_TRANSFORMER = {"patch_size": 8, "num_layers": 3, "num_heads": 4, "hidden_dim": 64}
_MIT = {
    "layerwise_depths": [2, 2],
    "num_layers": 2,
    "layerwise_num_heads": [1, 2],
    "layerwise_sr_ratios": [8, 4],
    "max_drop_path_rate": 0.1,
    "layerwise_patch_sizes": [7, 3],
    "layerwise_strides": [4, 2],
    "hidden_dims": [32, 64],
}
# KerasHub's class, the side of the image, and the arguments of the backbone. The classifier of VGG takes no less.
ARCHITECTURES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "ResNet": ("ResNet", 64, _RESNET | {"stackwise_num_blocks": [2, 2, 2, 2], "block_type": "basic_block"}),
    "ResNetV2": (
        "ResNet",
        64,
        _RESNET | {"stackwise_num_blocks": [3, 4, 6, 3], "block_type": "bottleneck_block", "use_pre_activation": True},
    ),
    "MobileNetV3": ("MobileNet", 64, _MOBILENET_V3),
    "MobileNetV5": ("MobileNetV5", 64, _MOBILENET_V5),
    "EfficientNet": ("EfficientNet", 64, _EFFICIENTNET),
    "DenseNet": ("DenseNet", 64, {"stackwise_num_repeats": [6, 12, 24, 16]}),
    "VGG": ("VGG", 224, {"stackwise_num_repeats": [2, 2, 3, 3, 3], "stackwise_num_filters": [64, 128, 256, 512, 512]}),
    "Xception": ("Xception", 71, _XCEPTION),
    "CSPNet": (
        "CSPNet",
        64,
        _CSPNET | {"block_type": "dark_block", "stage_type": "csp", "bottle_ratio": [0.5], "expand_ratio": [2.0]},
    ),
    "CSPDarkNet": ("CSPNet", 64, _CSPNET | {"block_type": "dark_block", "stage_type": "dark"}),
    "HGNetV2": ("HGNetV2", 64, _HGNETV2),
    "MiT": ("MiT", 64, _MIT),
    "Swin": ("SwinTransformer", 64, _SWIN),
    "ViT": ("ViT", 64, _TRANSFORMER | {"mlp_dim": 128}),
    "DeiT": ("DeiT", 64, _TRANSFORMER | {"intermediate_dim": 128}),
}
_OF_ONE_SIZE = ("MiT", "Swin", "ViT", "DeiT")  # their backbones take no images of any size


def hub_names() -> list[str]:
    """Return the names of all rows of KerasHub."""
    return [f"{name} {form}" for name in ARCHITECTURES for form in FORMS]


def build_hub(name: str) -> Any:
    """Build the model of a row, with 10 classes and outputs that are probabilities."""
    import keras
    import keras_hub

    architecture, _, form = name.partition(" ")
    kind, side, options = ARCHITECTURES[architecture]
    fixed = (side, side, 3)
    is_nested = form == "backbone" and architecture not in _OF_ONE_SIZE
    key = "input_shape" if kind == "EfficientNet" else "image_shape"
    backbone = getattr(keras_hub.models, f"{kind}Backbone")(**options, **{key: _VARYING if is_nested else fixed})
    if form == "backbone":
        layers = keras.layers
        features = backbone(inputs := keras.Input(fixed, name="image"))
        features = features if not isinstance(features, dict) else list(features.values())[-1]
        pooling = layers.GlobalAveragePooling2D() if len(features.shape) == 4 else layers.GlobalAveragePooling1D()
        return keras.Model(inputs, layers.Dense(10, activation="softmax")(pooling(features)), name=architecture)
    preprocessor = None
    if form.endswith("preprocessor"):
        prefix = f"{kind}ImageC"
        converter = getattr(keras_hub.layers, f"{prefix}onverter")(image_size=(side, side), scale=1 / 255)
        preprocessor = getattr(keras_hub.models, f"{prefix}lassifierPreprocessor")(converter)
    extra: dict[str, Any] = {} if kind == "MobileNetV5" else {"activation": "softmax"}
    extra |= {"pooling_hidden_dim": 256} if kind == "VGG" else {}
    classifier = getattr(keras_hub.models, f"{kind}ImageClassifier")
    return classifier(backbone=backbone, num_classes=10, preprocessor=preprocessor, **extra)
