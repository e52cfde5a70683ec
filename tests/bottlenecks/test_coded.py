"""Coded latents: the step, the tables, and a split that needs no training."""

import keras
import numpy as np
import pytest

import isplit_tf as isplit
from isplit_edge.wire import HEADER_BYTES
from isplit_tf import Autoencoder, Projection, SplitModel, split, train
from isplit_tf.bottlenecks.coded import Rate, _step_for, fit_symbols, symbols_of
from isplit_tf.bottlenecks.linear_map import solve
from isplit_tf.errors import ArgumentError


@pytest.fixture(scope="module")
def latents():
    """Laplace numbers whose deviations fall from channel to channel, as those of a projection do."""
    rng = np.random.default_rng(0)
    return (rng.laplace(size=(64, 4, 4, 24)) * 0.8 ** np.arange(24)).astype(np.float32)


@pytest.mark.numerical
class TestSymbols:
    """The step and the tables from some latents."""

    @pytest.mark.parametrize("payload_bytes", [40, 80, 130])
    def test_a_rate(self, latents, payload_bytes):
        """Whole payloads, as the coder writes them, take what was asked in the mean over the images of the fit."""
        found = fit_symbols(latents, payload_bytes)
        symbols = symbols_of(latents, found.center, found.step)
        lengths = [HEADER_BYTES + len(found.code.encode(image)) for image in symbols]
        assert np.mean(lengths) == pytest.approx(payload_bytes, rel=0.05)
        assert found.mean_bytes == pytest.approx(payload_bytes, rel=0.01)

    def test_without_a_rate(self, latents):
        """The step is fine: rounding changes a latent by less than a thousandth of its variance."""
        found = fit_symbols(latents, None)
        restored = symbols_of(latents, found.center, found.step) * found.step + found.center
        assert np.mean((restored - latents) ** 2) < 1e-3 * latents[..., 0].var()

    @pytest.mark.parametrize("latents", [np.zeros((3, 2, 5)), np.full((3, 5), 7.0), np.eye(4)[:, None, :]])
    def test_latents_that_hardly_vary(self, latents):
        """Constant and sparse latents have a step and a code that writes them exactly."""
        found = fit_symbols(latents.astype(np.float32), 40)
        symbols = symbols_of(latents.astype(np.float32), found.center, found.step)
        _, read = found.code.decode(found.code.encode(symbols[0]))
        np.testing.assert_array_equal(read, symbols[0])

    def test_no_symbol_is_clipped(self, latents):
        """However many bytes are asked, the largest latent is within the symbols of int8."""
        found = fit_symbols(latents, 10**6)
        assert np.abs((latents - found.center) / found.step).max() <= 127.5

    def test_the_estimate_is_near_the_code(self, latents):
        """The estimate of the bytes, by which the step is found, is within a tenth of the exact length."""
        found = fit_symbols(latents, 100)
        exact = found.code.ideal_bits(symbols_of(latents, found.center, found.step)).mean() / 8
        assert Rate((latents - found.center).reshape(64, 16, 24)).at(found.step) == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize("asked", [3.0, 40.0, 400.0])
def test_the_step_is_that_of_plain_bisection(asked):
    """What is known of other steps spares many looks at the latents, and changes no digit of the step."""
    rng = np.random.default_rng(0)
    rows = (rng.laplace(size=(32, 49, 40)) * 0.95 ** np.arange(40)).astype(np.float32)
    least, deviation = float(np.abs(rows).max()) / 127, float(rows.std(axis=(0, 1)).max())
    rate, steps = Rate(rows), []
    for bytes_asked in (asked, asked * 1.003):
        low, high = least, deviation * 1024
        for _ in range(20):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if Rate(rows).at(middle) > bytes_asked else (low, middle)
        steps.append(high)
    assert [_step_for(rate, bytes_asked, least, deviation) for bytes_asked in (asked, asked * 1.003)] == steps
    assert len(rate._known) <= 30  # of 42


def test_latents_in_the_metric():
    """One step for all costs the same error in each: encode and decode are those of the metric up to one factor."""
    rng = np.random.default_rng(0)
    covariance, metric = (a @ a.T / 20 + 0.1 * np.eye(6) for a in rng.normal(size=(2, 6, 20)))
    found = solve(covariance, metric, 6).in_metric()
    products = found.decode.T @ metric @ found.decode
    np.testing.assert_allclose(products / products[0, 0], np.eye(6), atol=1e-8)
    variances = np.diag(found.encode @ covariance @ found.encode.T)
    np.testing.assert_allclose(variances / variances[0], found.variances / found.variances[0], rtol=1e-8)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(12, 3, padding="same", activation="relu", name="conv"),
            keras.layers.MaxPooling2D(name="pool"),
            keras.layers.Flatten(),
            keras.layers.Dense(24, activation="relu", name="hidden"),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).normal(size=(96, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("cut", ["conv", "pool", "hidden"])
def test_a_split_needs_no_training(model, images, cut):
    """Fitted when it is made, a split answers, and its symbols are whole numbers that the code writes and reads."""
    halves = split(model, cut, Projection(payload_bytes=60), fit_data=images)
    symbols = halves.encoder(halves.head(images)).numpy()
    np.testing.assert_array_equal(symbols, np.rint(symbols))
    lengths = [HEADER_BYTES + len(halves.bottleneck_code.encode(image.astype(np.int8))) for image in symbols]
    assert np.mean(lengths) <= 62
    assert np.abs(halves.predict(images) - model.predict(images, verbose=0)).mean() < 0.1


def test_more_bytes_keep_more(model, images):
    """The answers come nearer to the model's as the bytes grow."""
    whole = model.predict(images, verbose=0)
    errors = [
        np.abs(split(model, "pool", Projection(payload_bytes=n), fit_data=images).predict(images) - whole).mean()
        for n in (30, 200)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_saved_and_loaded(model, images, tmp_path):
    """A loaded split has the same symbols, tables and answers."""
    halves = split(model, "pool", Projection(payload_bytes=60), fit_data=images)
    halves.save(tmp_path / "split")
    loaded = SplitModel.load(tmp_path / "split")
    np.testing.assert_array_equal(loaded.predict(images), halves.predict(images))
    assert loaded.bottleneck_code.to_json() == halves.bottleneck_code.to_json()
    assert loaded.bottleneck == halves.bottleneck


class TestUnfitted:
    """A split whose projection is not fitted."""

    @pytest.mark.parametrize("bottleneck", [Projection(payload_bytes=60), Projection(0.5), Projection(latent_size=9)])
    def test_refused(self, model, images, bottleneck, tmp_path):
        """It does not answer, nor is it measured or exported, also after it was saved and loaded."""
        halves = split(model, "pool", bottleneck)
        halves.save(tmp_path / "split")
        labels = np.zeros(96, np.int64)
        for one in (halves, SplitModel.load(tmp_path / "split")):
            with pytest.raises(ArgumentError, match="is not fitted yet. Give images"):
                one.predict(images)
            with pytest.raises(ArgumentError, match="is not fitted yet. Give images"):
                isplit.evaluate(one, (images, labels), progress=False)
            with pytest.raises(ArgumentError, match="is not fitted yet. Give images"):
                isplit.export_bundle(one, tmp_path / "bundle", representative_data=images)
        assert not (tmp_path / "bundle").exists()

    def test_fitted_later(self, model, images):
        """`fit_bottleneck` and `train` make it the split that `fit_data` makes."""
        expected = split(model, "pool", Projection(payload_bytes=60), fit_data=images).predict(images)
        later, trained = (split(model, "pool", Projection(payload_bytes=60)) for _ in range(2))
        assert later.fit_bottleneck(images, progress=False)["fit_images"] == 96
        train(trained, images, fine_tune_epochs=0, progress=False)
        np.testing.assert_array_equal(later.predict(images), expected)
        np.testing.assert_array_equal(trained.predict(images), expected)

    def test_what_is_not_fitted(self, model, images):
        """An autoencoder is trained, and says so."""
        with pytest.raises(ArgumentError, match=r"Only a Projection.*Received: Autoencoder"):
            split(model, "pool", Autoencoder(0.5), fit_data=images)


class TestTraining:
    """Fine-tuning of a coded latent."""

    @pytest.mark.parametrize(
        "bottleneck",
        [Projection(payload_bytes=60), Projection(0.5, coding="entropy"), Autoencoder(0.5, coding="entropy", seed=0)],
    )
    def test_bits_in_the_loss(self, model, images, bottleneck):
        """With the bits in the loss, frames take fewer bytes, and the tables fit what the encoder then gives."""
        labels = model.predict(images, verbose=0).argmax(axis=1)
        found = []
        for weight in (0.0, 1.0):
            keras.utils.set_random_seed(0)
            halves = split(model, "pool", bottleneck)
            options = {"bottleneck_epochs": 1, "fine_tune_epochs": 6, "optimizer": keras.optimizers.Adam(3e-3)}
            train(halves, (images, labels), rate_weight=weight, seed=0, progress=False, **options)
            symbols = halves.encoder(halves.head(images)).numpy().astype(np.int8)
            code = halves.bottleneck_code
            found.append(code.ideal_bits(symbols).mean())
            assert found[-1] <= 1.001 * type(code).fit(symbols).ideal_bits(symbols).mean()
        assert found[1] < 0.9 * found[0]

    def test_without_a_code(self, model, images):
        """A weight of bits without coded latents is refused before any work."""
        halves = split(model, "pool", Projection(0.5))
        with pytest.raises(ArgumentError, match="rate_weight=1.0 weighs the bits of a coded latent"):
            train(halves, (images, np.zeros(96, np.int64)), rate_weight=1.0)
        with pytest.raises(ArgumentError, match="rate_weight: expected a number of at least 0"):
            train(halves, (images, np.zeros(96, np.int64)), rate_weight=-1)


class TestArguments:
    """The arguments of a coded projection."""

    def test_defaults(self):
        """Bytes are coded by default; compression, elements and few bits are not."""
        assert Projection(payload_bytes=100).coding == "entropy"
        for bottleneck in (
            Projection(0.9),
            Projection(latent_size=9),
            Projection(payload_bytes=99, latent_bits=4),
            Autoencoder(payload_bytes=99),
        ):
            assert bottleneck.coding == "none"

    @pytest.mark.parametrize(
        "bottleneck",
        [Projection(payload_bytes=99), Projection(payload_bytes=99, coding="none"), Autoencoder(coding="entropy")],
    )
    def test_records(self, bottleneck):
        """A record makes an equal bottleneck, and one without a word on coding is of a release without a coder."""
        config = bottleneck.get_config()
        assert type(bottleneck).from_config(config) == bottleneck
        config.pop("coding", None)
        assert type(bottleneck).from_config(config).coding == "none"

    def test_refused(self):
        """Words that do not exist, few bits of a coded latent, and fewer bytes than a frame needs, are refused."""
        with pytest.raises(ArgumentError, match="coding: expected one of"):
            Projection(coding="zip")
        with pytest.raises(ArgumentError, match="latent_bits=4 gives each element as many bits"):
            Projection(coding="entropy", latent_bits=4)
        with pytest.raises(ArgumentError, match="payload_bytes"):
            Projection(payload_bytes=13)
        with pytest.raises(ArgumentError, match="encoder_share"):
            Projection(encoder_share=2)

    def test_a_share_of_the_head(self, model, images):
        """The encoder takes at most its share of the head's multiply-accumulates."""
        free, bound = (
            split(model, "conv", Projection(payload_bytes=200, encoder_share=share), fit_data=images)
            for share in (None, 0.2)
        )
        macs = [half.latent_shape[-1] * 12 * 64 for half in (free, bound)]
        assert macs[1] <= 0.2 * bound.cut.head_macs < macs[0]
