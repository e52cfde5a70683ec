"""What each experiment is, as plain records: data, network, training, points, and how much of each at which scale."""

from dataclasses import dataclass, replace

from ..errors import ArgumentError


@dataclass(frozen=True)
class DataRecipe:
    """Images of a study.

    Attributes:
        name: `tiny_imagenet200`, `notmnist`, `chest_xray_pneumonia`, or the embedded `glyphs`.
        size: Pixels to a side, after bilinear interpolation.
        classes: How many classes, evenly spaced over those of the data set; None for all.
        train: Training images of each retraining; None for all.
        original_train: Training images of the original, those of `train` among them; None for all.
        validation: Validation images; None for all.
        test: Test images; None for all.
    """

    name: str
    size: int
    classes: int | None = None
    train: int | None = None
    original_train: int | None = None
    validation: int | None = None
    test: int | None = None


@dataclass(frozen=True)
class ModelRecipe:
    """The network.

    Attributes:
        name: `vgg16`, `resnet50`, or `vgg16_narrow`, VGG16's layout with a sixteenth of its width.
        imagenet: Whether its convolutions start from ImageNet weights.
        epochs: Epochs of the original.
        learning_rate: Of Adam for the original.
    """

    name: str
    imagenet: bool
    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class Retraining:
    """The two phases, the same at every cut.

    Attributes:
        bottleneck_epochs: Of phase 1.
        fine_tune_epochs: Of phase 2.
        learning_rates: Of Adam in phase 2; the one with the highest validation accuracy at `tuned_at` is taken.
        tuned_at: Position on the axis of the main cuts.
        batch_size: Images a step.
    """

    bottleneck_epochs: int
    fine_tune_epochs: int
    learning_rates: tuple[float, ...]
    tuned_at: int
    batch_size: int = 32


@dataclass(frozen=True)
class Series:
    """How small the latents are, along the axis.

    Attributes:
        name: `90`, `99` or `fixed`.
        compression: Share of the elements that the latent leaves out; None where their number is fixed.
        elements: Elements of every latent; as int8, as many bytes.
        seeds: How many seeds.
    """

    name: str
    compression: float | None
    elements: int | None
    seeds: int


@dataclass(frozen=True)
class Study:
    """A network on a data set: one file of results, which several experiments read.

    Attributes:
        name: Also that of the file.
        title: For plots and pages.
        data: The images.
        model: The network.
        retraining: The two phases.
        points: Positions on the axis of the main cuts that are measured; None for all.
        series: Each with its seeds; the first is the paper's.
        groups: Whether classes are also grouped by their own peaks (Fig. 8).
        rates: Bytes of the latents whose accuracies make the rate-accuracy figure; none leaves it out.
        qualities: Qualities of JPEG and WebP beside it.
    """

    name: str
    title: str
    data: DataRecipe
    model: ModelRecipe
    retraining: Retraining
    points: tuple[int, ...] | None
    series: tuple[Series, ...]
    groups: bool = False
    rates: tuple[int, ...] = ()
    qualities: tuple[int, ...] = (1, *range(5, 100, 5))

    @property
    def seeds(self) -> int:
        """Originals that are trained: as many as the series with the most seeds needs."""
        return max(one.seeds for one in self.series)


@dataclass(frozen=True)
class Experiment:
    """What one command reproduces.

    Attributes:
        name: As on the command line.
        title: What it shows.
        studies: Those that it reads.
        series: The series of them that it needs; none where only scores are compared.
        groups: Whether it needs the models of the groups of classes.
        predicted: Whether it needs the accuracies predicted behind projections.
        rivals: Whether it needs all other scores too.
        rates: Whether it needs the accuracies at several rates.
    """

    name: str
    title: str
    studies: tuple[str, ...]
    series: tuple[str, ...] = ()
    groups: bool = False
    predicted: bool = False
    rivals: bool = False
    rates: bool = False


_ALL = ("tiny_vgg16", "notmnist_vgg16", "xray_vgg16", "notmnist_resnet50")
EXPERIMENTS = {
    one.name: one
    for one in (
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
            "Accuracy over bytes a frame",
            ("notmnist_vgg16", "xray_vgg16", "tiny_vgg16"),
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

_RATES = (10, 30, 100, 300, 1000, 3000)
_FEW_RATES = (16, 64, 256)

_PAPER = (
    Study(
        "tiny_vgg16",
        "VGG16 on Tiny-ImageNet-200",
        DataRecipe("tiny_imagenet200", 64),
        replace(_FINE_TUNED, epochs=10),
        Retraining(10, 10, (1e-5, 3e-5, 1e-4), tuned_at=9),
        None,
        _series(3, 3),
        groups=True,
        rates=_RATES,
    ),
    Study(
        "notmnist_vgg16",
        "VGG16 on notMNIST",
        DataRecipe("notmnist", 32),
        replace(_FINE_TUNED, epochs=10),
        Retraining(10, 10, (1e-5, 3e-5, 1e-4), tuned_at=9),
        None,
        _series(3, 3),
        rates=_RATES,
    ),
    Study(
        "xray_vgg16",
        "VGG16 on Chest X-Ray Pneumonia",
        DataRecipe("chest_xray_pneumonia", 224),
        replace(_FINE_TUNED, epochs=10),
        Retraining(10, 10, (1e-5, 3e-5, 1e-4), tuned_at=9),
        None,
        _series(3, 3, 1024),
        rates=_RATES,
    ),
    Study(
        "notmnist_resnet50",
        "ResNet-50 on notMNIST",
        DataRecipe("notmnist", 64),
        ModelRecipe("resnet50", imagenet=True, epochs=10, learning_rate=1e-4),
        Retraining(10, 10, (1e-5, 3e-5, 1e-4), tuned_at=8),
        None,
        _series(3, 3),
    ),
)

_CPU = (
    replace(
        _PAPER[0],
        title="VGG16 on 40 classes of Tiny-ImageNet",
        data=DataRecipe("tiny_imagenet200", 64, classes=40, train=2000, test=2000),
        model=replace(_FINE_TUNED, epochs=4),
        retraining=_VGG_PHASES,
        points=_NINE_OF_VGG16,
        series=_series(1, 1),
        rates=_FEW_RATES,
    ),
    replace(
        _PAPER[1],
        data=DataRecipe("notmnist", 32, train=2000, original_train=5000, validation=1000, test=2000),
        model=_FINE_TUNED,
        retraining=_VGG_PHASES,
        series=_series(3, 2),
        rates=_FEW_RATES,
    ),
    replace(
        _PAPER[2],
        data=DataRecipe("chest_xray_pneumonia", 64, train=1000, original_train=2000),
        model=_FINE_TUNED,
        retraining=_VGG_PHASES,
        points=_NINE_OF_VGG16,
        series=_series(3, 2),
        rates=_FEW_RATES,
    ),
    replace(
        _PAPER[3],
        data=DataRecipe("notmnist", 32, train=3000, original_train=5000, validation=1000, test=2000),
        model=_SCRATCH,
        retraining=Retraining(3, 1, (3e-5, 1e-4, 3e-4), tuned_at=8),
        points=_NINE_OF_RESNET50,
        series=_series(1, 1),
    ),
)

_GLYPHS = DataRecipe("glyphs", 32, train=300, original_train=1500, validation=200, test=300)
_SMALL = ModelRecipe("vgg16_narrow", imagenet=False, epochs=3, learning_rate=2e-3)
_SMOKE_PHASES = Retraining(1, 1, (3e-4, 1e-3), tuned_at=9)
_SMOKE = (
    replace(
        _PAPER[0],
        title="VGG16's layout on glyphs",
        data=_GLYPHS,
        model=_SMALL,
        retraining=_SMOKE_PHASES,
        points=(5, 9, 13, 14, 15),
        series=_series(1, 1, 64),
        rates=(),
    ),
    replace(
        _PAPER[1],
        title="VGG16's layout on glyphs",
        data=_GLYPHS,
        model=_SMALL,
        retraining=_SMOKE_PHASES,
        points=(2, 9, 13),
        series=_series(2, 1, 64),
        rates=(16,),
        qualities=(10, 75),
    ),
    replace(
        _PAPER[2],
        title="VGG16's layout on two classes of glyphs",
        data=replace(_GLYPHS, classes=2, original_train=600, test=200),
        model=_SMALL,
        retraining=_SMOKE_PHASES,
        points=(2, 9, 13),
        series=_series(1, 1, 64),
        rates=(),
    ),
    replace(
        _PAPER[3],
        title="ResNet-50 on glyphs",
        data=replace(_GLYPHS, train=100, original_train=400, test=200),
        model=replace(_SCRATCH, epochs=1),
        retraining=Retraining(1, 1, (1e-4,), tuned_at=8),
        points=(1, 8),
        series=_series(1, 1, 64)[:1],
    ),
)

SCALES: dict[str, dict[str, Study]] = {
    name: {one.name: one for one in studies} for name, studies in (("smoke", _SMOKE), ("cpu", _CPU), ("paper", _PAPER))
}
"""The studies of each scale: `smoke` (minutes, on the embedded glyphs), `cpu` (hours on 2 cores), `paper` (a GPU)."""


def find_experiments(name: str) -> list[Experiment]:
    """The experiment of that name, or all of them.

    Raises:
        ArgumentError: There is none.
    """
    if name == "all":
        return list(EXPERIMENTS.values())
    if name not in EXPERIMENTS:
        raise ArgumentError(f"No experiment {name!r}. There are: {', '.join(EXPERIMENTS)}, and all.")
    return [EXPERIMENTS[name]]
