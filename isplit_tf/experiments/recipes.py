"""What an experiment is, as plain records: data, network, training, points, and how much of each."""

from dataclasses import dataclass

ORIGINAL_BATCH = 32
"""Images a step of the original's training."""

TOP_LEARNING_RATE = 1e-3
"""Of Adam for the layers behind the base, at the first step of their own epochs."""


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
        name: `vgg16`, `resnet50`; or, small, `vgg16_narrow`, VGG16's layout with a sixteenth of its width, and
            `residual_narrow`, four residual blocks.
        imagenet: Whether its convolutions start from ImageNet weights.
        epochs: Epochs of the original.
        learning_rate: Of Adam for the original at its first step; it falls to 0 along a cosine.
        top_epochs: Epochs before those in which only the layers behind the base learn, at `TOP_LEARNING_RATE`.
            Many classes on ImageNet weights need them: the first steps of a random top would undo the base.
    """

    name: str
    imagenet: bool
    epochs: int
    learning_rate: float
    top_epochs: int = 0


@dataclass(frozen=True)
class Retraining:
    """The two phases, the same at every cut.

    Attributes:
        bottleneck_epochs: Of phase 1.
        fine_tune_epochs: Of phase 2.
        learning_rates: Of Adam in phase 2; the one with the highest validation accuracy at `tuned_at` is taken.
        tuned_at: Position on the axis of the main cuts.
        batch_size: Images a step, in both phases.
        loss: Of phase 2, as `isplit_tf.train` takes it; the paper's Eq. 4 where nothing else is said.
    """

    bottleneck_epochs: int
    fine_tune_epochs: int
    learning_rates: tuple[float, ...]
    tuned_at: int
    batch_size: int = 32
    loss: str = "squared_error"


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
        rate_images: Test images of that figure; None for all.
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
    rate_images: int | None = None

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
