"""The experiments by name, and their studies at each scale."""

from dataclasses import replace

from ..errors import ArgumentError
from .recipes import DataRecipe, Experiment, ModelRecipe, Retraining, Series, Study

_ALL = ("tiny_vgg16", "notmnist_vgg16", "xray_vgg16", "notmnist_resnet50")
EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("fig3", "VGG16 on Tiny-ImageNet: importance, sizes, accuracy", ("tiny_vgg16",), ("90",)),
        Experiment("fig4", "Grad-CAM against gradients alone", ("tiny_vgg16",)),
        Experiment("fig5", "F1 of each class before and after the split", ("tiny_vgg16",), ("90",)),
        Experiment("fig6", "VGG16 on notMNIST and Chest X-Ray", ("notmnist_vgg16", "xray_vgg16"), ("90",)),
        Experiment("fig7", "ResNet-50", ("notmnist_resnet50",), ("90",)),
        Experiment("fig8", "Classes grouped by where their own curve peaks", ("tiny_vgg16",), (), groups=True),
        Experiment(
            "correlation",
            "Which score predicts the accuracy after the split",
            _ALL,
            ("90", "99", "fixed"),
            predicted=True,
            rivals=True,
        ),
        Experiment(
            "rate_accuracy",
            "Accuracy over bytes per frame",
            ("lite1_photos", "notmnist_vgg16", "xray_vgg16", "tiny_vgg16"),
            predicted=True,
            rates=True,
        ),
        Experiment("projection", "What a projection keeps without any training", _ALL, predicted=True),
        Experiment("cost", "The curve against retraining at every cut", ("tiny_vgg16",), ("90",)),
    )
}
"""The experiments by name."""

# Paper's layer numbers: 5, 9, 11, 13 and 15 are the peaks of its Fig. 3; the others are their neighbours.
_NINE_OF_VGG16 = (2, 5, 9, 11, 12, 13, 14, 15, 16)
_NINE_OF_RESNET50 = (0, 1, 3, 5, 8, 10, 12, 14, 16)


def _series(first: int, others: int, elements: int = 256) -> tuple[Series, ...]:
    return (
        Series("90", 0.9, None, first),
        Series("99", 0.99, None, others),
        Series("fixed", None, elements, others),
    )


_FINE_TUNED = ModelRecipe("vgg16", imagenet=True, epochs=3, learning_rate=1e-4)
_SCRATCH = ModelRecipe("resnet50", imagenet=False, epochs=6, learning_rate=1e-3)
_VGG_PHASES = Retraining(3, 1, (1e-5, 3e-5, 1e-4), tuned_at=9)
# A new autoencoder needs hundreds of steps: with only 57, the accuracy on Tiny-ImageNet stayed at chance.
_MORE_STEPS = Retraining(6, 1, (3e-6, 1e-5, 3e-5), tuned_at=9, batch_size=8)

# With 40 saturated outputs, the squared error has next to no gradient where the prediction is wrong.
_CROSS_ENTROPY = "sparse_categorical_crossentropy"

_PAPER_VGG16 = replace(_FINE_TUNED, epochs=10)
_PAPER_PHASES = Retraining(10, 10, (1e-5, 3e-5, 1e-4), tuned_at=9)
_RATES = (10, 30, 100, 300, 1000, 3000)
_FEW_RATES = (16, 64, 256)
_TWO_RATES = (16, 256)
_FEW_QUALITIES = (1, 5, 10, 15, 20, 30, 40, 60, 80, 95)

# Nothing is trained. The four heads compute 23, 33, 42 and 58 % of the model.
_LITE1 = Study(
    "lite1_photos",
    "EfficientNet-Lite1 on ImageNet photos",
    DataRecipe("imagenet_photos", 240),
    ModelRecipe("efficientnet_lite1_imagenet.keras", imagenet=True, epochs=0, learning_rate=0.0),
    Retraining(0, 0, (0.0,), tuned_at=0),
    (),
    (),
    rates=(150, 400, 800, 1500, 2700, 5000),
    qualities=_FEW_QUALITIES,
    codecs=("jpeg", "webp", "avif"),
    codec_sizes=(240, 160, 112),
    rate_cuts=("block3a_project_bn", "block4a_project_bn", "block4d_add", "block5c_add"),
)

_PAPER = (
    Study(
        "tiny_vgg16",
        "VGG16 on Tiny-ImageNet-200",
        DataRecipe("tiny_imagenet200", 64),
        replace(_PAPER_VGG16, learning_rate=3e-5, top_epochs=8),
        _PAPER_PHASES,
        None,
        _series(3, 3),
        groups=True,
        rates=_RATES,
    ),
    Study(
        "notmnist_vgg16",
        "VGG16 on notMNIST",
        DataRecipe("notmnist", 32),
        _PAPER_VGG16,
        _PAPER_PHASES,
        None,
        _series(3, 3),
        rates=_RATES,
    ),
    Study(
        "xray_vgg16",
        "VGG16 on Chest X-Ray Pneumonia",
        DataRecipe("chest_xray_pneumonia", 224),
        _PAPER_VGG16,
        _PAPER_PHASES,
        None,
        _series(3, 3, 1024),
        rates=_RATES,
    ),
    Study(
        "notmnist_resnet50",
        "ResNet-50 on notMNIST",
        DataRecipe("notmnist", 64),
        ModelRecipe("resnet50", imagenet=True, epochs=10, learning_rate=1e-4),
        replace(_PAPER_PHASES, tuned_at=8),
        None,
        _series(3, 3),
    ),
    _LITE1,
)

_CPU = (
    replace(
        _PAPER[0],
        title="VGG16 on 40 classes of Tiny-ImageNet",
        data=DataRecipe("tiny_imagenet200", 64, classes=40, train=600, test=2000),
        model=ModelRecipe("vgg16", imagenet=True, epochs=1, learning_rate=1e-5, top_epochs=8),
        retraining=replace(_MORE_STEPS, loss=_CROSS_ENTROPY),
        points=_NINE_OF_VGG16,
        series=_series(1, 1),
        rates=_TWO_RATES,
        qualities=_FEW_QUALITIES,
        rate_images=800,
    ),
    replace(
        _PAPER[1],
        data=DataRecipe("notmnist", 32, train=1000, original_train=5000, validation=1000, test=2000),
        model=_FINE_TUNED,
        retraining=_VGG_PHASES,
        series=_series(3, 2),
        rates=_FEW_RATES,
    ),
    replace(
        _PAPER[2],
        data=DataRecipe("chest_xray_pneumonia", 64, train=600, original_train=2000),
        model=_FINE_TUNED,
        retraining=_MORE_STEPS,
        points=_NINE_OF_VGG16,
        series=_series(3, 2),
        rates=_TWO_RATES,
        qualities=_FEW_QUALITIES,
    ),
    replace(
        _PAPER[3],
        data=DataRecipe("notmnist", 32, train=1000, original_train=5000, validation=1000, test=2000),
        model=_SCRATCH,
        retraining=Retraining(3, 1, (3e-5, 1e-4, 3e-4), tuned_at=8),
        points=_NINE_OF_RESNET50,
        series=_series(1, 1),
    ),
    _LITE1,
)

_GLYPHS = DataRecipe("glyphs", 32, train=200, original_train=1500, validation=200, test=300)
_SMALL = ModelRecipe("vgg16_narrow", imagenet=False, epochs=3, learning_rate=2e-3)
_SMOKE_PHASES = Retraining(1, 1, (1e-3,), tuned_at=9)
_NINETY, _NINETY_NINE, _FIXED = _series(1, 1, 64)
_SMOKE = (
    replace(
        _PAPER[0],
        title="VGG16's layout on glyphs",
        data=_GLYPHS,
        model=_SMALL,
        retraining=_SMOKE_PHASES,
        points=(12, 13, 14),
        series=(_NINETY, _FIXED),
        rates=(),
    ),
    replace(
        _PAPER[1],
        title="VGG16's layout on glyphs",
        data=_GLYPHS,
        model=_SMALL,
        retraining=replace(_SMOKE_PHASES, learning_rates=(3e-4, 1e-3)),
        points=(2, 13),
        series=(_NINETY, _NINETY_NINE),
        rates=(16,),
        qualities=(10, 75),
    ),
    replace(
        _PAPER[2],
        title="VGG16's layout on two classes of glyphs",
        data=replace(_GLYPHS, classes=2, original_train=600, test=200),
        model=_SMALL,
        retraining=_SMOKE_PHASES,
        points=(2, 13),
        series=(replace(_NINETY, seeds=2),),
        rates=(),
    ),
    replace(
        _PAPER[3],
        title="a small residual network on glyphs",
        data=_GLYPHS,
        model=ModelRecipe("residual_narrow", imagenet=False, epochs=3, learning_rate=2e-3),
        retraining=replace(_SMOKE_PHASES, tuned_at=2),
        points=(1, 3),
        series=(_NINETY,),
    ),
    replace(
        _LITE1,
        title="a small residual network on glyphs",
        data=replace(_GLYPHS, test=100),
        model=ModelRecipe("residual_narrow", imagenet=False, epochs=3, learning_rate=2e-3),
        rates=(60,),
        qualities=(10, 75),
        codecs=("jpeg",),
        codec_sizes=(32, 16),
        rate_cuts=("stem_pool", "block2_out"),
    ),
)

SCALES: dict[str, dict[str, Study]] = {
    name: {study.name: study for study in studies}
    for name, studies in (("smoke", _SMOKE), ("cpu", _CPU), ("paper", _PAPER))
}
"""The studies of each scale: `smoke` (minutes, on the embedded glyphs), `cpu` (hours on 2 cores), `paper` (a GPU)."""


def find_experiments(name: str) -> list[Experiment]:
    """Return the experiment of that name, or all experiments for `all`.

    Raises:
        ArgumentError: If there is no such experiment.
    """
    if name == "all":
        return list(EXPERIMENTS.values())
    if name not in EXPERIMENTS:
        raise ArgumentError(f"No experiment {name!r}. There are: {', '.join(EXPERIMENTS)}, and all.")
    return [EXPERIMENTS[name]]


def find_scale(name: str) -> dict[str, Study]:
    """Return the studies of a scale, by name.

    Raises:
        ArgumentError: If there is no such scale.
    """
    if name not in SCALES:
        raise ArgumentError(f"No scale {name!r}. There are: {', '.join(SCALES)}.")
    return SCALES[name]


# Figures that the paper reports, printed beside the results measured here. The paper's layer numbers count VGG16's
# convolutions and poolings from 0, like positions on the axis of the main cuts.
VGG16_PEAKS = (5, 9, 11, 13, 15)
VGG16_BEST = 15
VGG16_CDE = (5, 9, 13)
HIGHEST_F1 = 0.87
CURVE_MINUTES = 150
RETRAINING_MINUTES = 360
CURVE_POINTS = 10
GROUP_CLASSES = 15
BOX_SETS = 15
