"""Plain records of experiments: data, network, training, measured points, and the amount of each."""

from dataclasses import dataclass

ORIGINAL_BATCH = 32
"""Images per step of the original's training."""

TOP_LEARNING_RATE = 1e-3
"""Learning rate of Adam for the layers behind the base, at the first step of their own epochs."""


@dataclass(frozen=True)
class DataRecipe:
    """Images of a study.

    Attributes:
        name: `tiny_imagenet200`, `notmnist`, `chest_xray_pneumonia`, `imagenet_photos`, or the embedded `glyphs`.
        size: Height and width in pixels, after bilinear interpolation.
        classes: Number of classes, evenly spaced over those of the data set; None for all.
        train: Number of training images of each retraining; None for all.
        original_train: Number of training images of the original, which include those of `train`; None for all.
        validation: Number of validation images; None for all.
        test: Number of test images; None for all.
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
        name: `vgg16` or `resnet50`; or a small network for the scale `smoke`: `vgg16_narrow`, as many cuts as VGG16
            with a sixteenth of its width and five convolutions, or `residual_narrow`, four residual blocks. Or the
            `.keras` file of a network that is trained already, in the folder of weights.
        imagenet: Whether its convolutions start from ImageNet weights.
        epochs: Epochs of the original.
        learning_rate: Learning rate of Adam at the original's first step; it falls to 0 along a cosine.
        top_epochs: Earlier epochs in which only the layers behind the base learn, at `TOP_LEARNING_RATE`. Many
            classes on ImageNet weights need them: the first steps of a random top would undo the base.
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
        bottleneck_epochs: Epochs of phase 1.
        fine_tune_epochs: Epochs of phase 2.
        learning_rates: Candidates for Adam in phase 2; the one with the highest validation accuracy at `tuned_at` is
            used.
        tuned_at: Position on the axis of the main cuts.
        batch_size: Images per step, in both phases.
        loss: Loss of phase 2, as `isplit_tf.train` takes it; by default the paper's Eq. 4.
    """

    bottleneck_epochs: int
    fine_tune_epochs: int
    learning_rates: tuple[float, ...]
    tuned_at: int
    batch_size: int = 32
    loss: str = "squared_error"


@dataclass(frozen=True)
class Series:
    """A series of splits along the axis, with one rule for the size of their latents.

    Attributes:
        name: `90`, `99` or `fixed`.
        compression: Share of the elements that the latent leaves out; None if their number is fixed.
        elements: Number of elements of every latent, as int8 also its bytes; None if the compression is fixed.
        seeds: Number of seeds.
    """

    name: str
    compression: float | None
    elements: int | None
    seeds: int


@dataclass(frozen=True)
class Study:
    """A network on a data set: one file of results, which several experiments read.

    Attributes:
        name: Name of the study and of its file.
        title: Title for plots and pages.
        data: The images.
        model: The network.
        retraining: The two phases.
        points: Measured positions on the axis of the main cuts; None for all.
        series: The series, each with its number of seeds; the first is the paper's.
        groups: Whether classes are also grouped by their own peaks (Fig. 8).
        rates: Sizes of the latents in the rate-accuracy figure, in bytes; empty for no figure.
        qualities: Qualities of JPEG and WebP in that figure.
        rate_images: Number of test images of that figure; None for all.
        codecs: Codecs of that figure.
        codec_sizes: Sizes at which it sends compressed images, their shorter side in pixels; empty for their own.
        rate_cuts: Names of the cuts of that figure. Such a study has coded payloads alone, and `rates` are bytes of
            their payloads; empty for two cuts that follow from scores.
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
    codecs: tuple[str, ...] = ("jpeg", "webp", "png")
    codec_sizes: tuple[int, ...] = ()
    rate_cuts: tuple[str, ...] = ()

    @property
    def seeds(self) -> int:
        """Return the number of originals to train: the highest number of seeds of any series."""
        return max((series.seeds for series in self.series), default=1)


@dataclass(frozen=True)
class Experiment:
    """An experiment that one command reproduces.

    Attributes:
        name: Name on the command line.
        title: What it shows.
        studies: Names of the studies that it reads.
        series: Names of the series that it needs; empty if it compares scores only.
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
