"""What the page says first follows from the figures, whichever way they come out."""

import pytest

from isplit_tf.experiments.correlation_page import on_trial
from isplit_tf.experiments.rate_page import best_split, rate_page
from isplit_tf.experiments.verdict import verdict

CUI = "CUI, mean, label"


def result(depth, size, *, peak=(0.0, -1.0, 1.0), trust=0.5):
    """A series where CUI's lead over depth and size has these intervals."""

    def estimate(bounds):
        low, high = bounds
        return {"value": (low + high) / 2, "low": low, "high": high}

    value, low, high = peak
    return {
        "scores": {
            CUI: {"spearman": {"value": 0.4}, "minus_depth": estimate(depth), "minus_size": estimate(size)},
            "depth": {"spearman": {"value": trust}},
            "random": {"spearman": {"value": 1.0}},
        },
        "peaks": {"mean": {"value": value, "low": low, "high": high}},
    }


def projected(at_cui, at_depth, prediction=None):
    """A series whose untrained projections keep so much at the cuts that the two scores choose."""
    one = result((0, 1), (0, 1))
    one["scores"][CUI]["accuracy_at_highest"] = -0.05
    kept = {CUI: at_cui, "depth": at_depth, "random": 0.99}
    if prediction is not None:
        kept["predicted accuracy"] = prediction
        one["scores"]["predicted accuracy"] = one["scores"]["depth"]
    scores = {name: {"accuracy": accuracy} for name, accuracy in kept.items()}
    untrained = {"as_good_at": 1, "mean_lead": 0.02, "scores": scores, "accuracy": [0.4, 0.99]}
    return one | {"accuracy": [0.5, 0.5], "untrained": untrained, "original": 0.9, "without_bottleneck": 0.875}


@pytest.mark.parametrize(
    ("depth", "size", "claim"),
    [
        ((0.1, 0.3), (0.1, 0.3), "CUI beat both depth and layer size"),
        ((0.1, 0.3), (-0.1, 0.3), "CUI beat depth, but not layer size"),
        ((-0.3, 0.3), (0.1, 0.3), "CUI beat layer size, but not depth"),
        ((-0.3, -0.1), (-0.1, 0.1), "CUI beat neither depth nor layer size"),
    ],
)
def test_the_claim(depth, size, claim):
    """Better means that the interval of the difference lies above zero."""
    text = " ".join(verdict({"studies": {"a": {"90": result(depth, size)}}}))
    assert text.startswith(f"**Here {claim}")


def test_one_study_of_three_is_no_victory():
    """Better in one of three comparisons, undecided in the others: not beaten."""
    series = {"90": result((0.1, 0.2), (0.1, 0.2)), "99": result((-1, 1), (-1, 1)), "fixed": result((-1, 1), (-1, 1))}
    text = " ".join(verdict({"studies": {"a": series}}))
    assert text.startswith("**Here CUI beat neither")
    assert "Of 3 comparisons" in text
    assert "better than depth in 1, worse in 0" in text


def test_the_advice_leaves_chance_out():
    """The score with the highest mean correlation is named, never the random one."""
    text = " ".join(verdict({"studies": {"a": {"90": result((0, 1), (0, 1), trust=0.9)}}}))
    assert "**depth**" in text


def test_weak_advice_is_called_so():
    """Where even the best score orders the cuts badly, the page says that it does."""
    series = {"90": result((0, 1), (0, 1), trust=0.45)}
    assert "weak advice" in " ".join(verdict({"studies": {"a": series}}))
    series = {"90": result((0, 1), (0, 1), trust=0.9)}
    assert "weak advice" not in " ".join(verdict({"studies": {"a": series}}))


def test_untrained_projections_are_counted_against_trained_autoencoders():
    """Cuts where they keep as much, and the mean difference in points."""
    text = " ".join(verdict({"studies": {"a": {"90": projected(0.5, 0.6), "99": projected(0.5, 0.6)}}}))
    assert "at 2 of 4 cuts, +2.00 points in the mean" in text


def test_what_training_costs_by_itself_is_said_beside_it():
    """Without a bottleneck, and at the worst cut."""
    text = " ".join(verdict({"studies": {"a": {"90": projected(0.5, 0.6)}}}))
    assert "the same fine-tuning lost 2.50 to 2.50 points" in text
    assert "at the worst cut it lost 50.00 points" in text


def test_of_prediction_cui_and_depth_the_best_choice_is_trusted():
    """Not the luckiest of all scores, which is named beside it."""
    text = " ".join(verdict({"studies": {"a": {"90": projected(0.5, 0.7)}}}))
    assert "**What to trust: depth, with a projection at the cut that it names.** That keeps 70.00%" in text
    assert "at the cut of CUI 50.00%" in text
    assert "the paper's autoencoder at the cut of CUI, trained, 45.00%" in text
    assert "random" not in text
    series = {"90": projected(0.5, 0.6, prediction=0.65), "99": projected(0.5, 0.6, prediction=0.55)}
    text = " ".join(verdict({"studies": {"a": series}}))
    assert "**What to trust: predicted accuracy, with a projection" in text
    assert "That keeps 60.00% in the mean of 2 comparisons" in text


def test_peaks_are_counted_by_their_intervals():
    """Above, below, undecided."""
    series = {"90": result((0, 1), (0, 1), peak=(1, 0.5, 1.5)), "99": result((0, 1), (0, 1), peak=(-1, -2, -0.5))}
    text = " ".join(verdict({"studies": {"a": series}}))
    assert "in 1 of 2 comparisons, less in 1" in text


def test_nothing_measured_says_so():
    """No figure, no claim."""
    assert "No study is complete yet" in " ".join(verdict(None))
    assert "No study is complete yet" in " ".join(verdict({"studies": {"a": {}}}))


def rates(split, images):
    def point(size, accuracy):
        costs = {"encoder_macs": 1, "encoder_params": 1}
        return {"payload_bytes": size, "accuracy": accuracy, "low": accuracy, "high": accuracy} | costs

    return {
        "title": "A study",
        "original": 0.95,
        "test_images": 100,
        "cuts": {"pool": {"projection, untrained, 8 bits": [point(*pair) for pair in split]}},
        "codecs": {"jpeg": [{"quality": 1, "bytes": size, "accuracy": accuracy} for size, accuracy in images]},
        "head_macs": {"pool": 10},
        "model_macs": 40,
    }


def test_the_best_split_of_at_most_so_many_bytes():
    """Smaller payloads count too; where none is as small there is none."""
    one = rates([(28, 0.9), (100, 0.8)], [(90, 0.7)])
    assert best_split(one, 27) is None
    assert best_split(one, 200) == (
        0.9,
        28,
        "projection, untrained, 8 bits, at pool, whose head computes 25% of the model",
    )


def test_the_page_says_from_where_images_keep_as_much():
    """Below the smallest image there are splits alone; then the first image within half a point, the first above."""
    found = {"studies": {"a": rates([(28, 0.9), (300, 0.93)], [(90, 0.7), (200, 0.897), (400, 0.94)])}}
    text = rate_page(found, "smoke", "smoke")
    assert "**No codec makes files of fewer than 90 bytes per frame, so below that only a split is possible" in text
    assert "the best keeps 90.00% in 28 bytes (projection, untrained, 8 bits, at pool, " in text
    assert "**From 200 bytes on, a compressed image, sent to the whole model on the server, is as accurate as" in text
    assert "From 400 bytes on, it beats the best split by half a point." in text
    assert "nan" not in text


def test_the_page_says_where_images_never_keep_as_much_or_are_always_smaller():
    """Both ends."""
    text = rate_page({"studies": {"a": rates([(28, 0.9)], [(90, 0.7), (200, 0.8)])}}, "smoke", "smoke")
    assert "**No compressed image comes within half a point" in text
    assert "No image format beats the best split by half a point." in text
    text = rate_page({"studies": {"a": rates([(128, 0.9)], [(90, 0.95)])}}, "smoke", "smoke")
    assert "**No split sends less than the smallest image, which takes 90 bytes.**" in text
    assert "**From 90 bytes on, a compressed image" in text
    assert "An image within half a point of the original's 95.00% takes 90 bytes." in text


def test_the_prediction_is_said_to_reach_the_ceiling_only_where_it_does():
    """Three ceilings: 0.5, of which 0.48 is enough; none, from one seed; and one at which seeds disagree."""

    def predicted(value, ceiling, lead):
        estimate = {"value": lead, "low": lead - 0.1, "high": lead + 0.1}
        score = {"spearman": {"value": value}, "minus_depth": estimate, "minus_size": estimate}
        return {"noise_ceiling": ceiling, "scores": {"predicted accuracy": score}}

    series = {"90": predicted(0.48, 0.5, 0.3), "99": predicted(0.9, None, 0.05), "fixed": predicted(0.1, -0.2, -0.3)}
    text = " ".join(on_trial({"studies": {"a": series, "b": {"90": predicted(0.2, 0.5, 0.0)}}}))
    assert "in 1 of 4 comparisons: `a` at 90 % compression." in text
    assert "reaches 0.9 of the noise ceiling in 1 of the 2 where" in text
    assert "In 1 more the ceiling is not positive" in text
