"""Who drops out of a race: exact probabilities by hand, and how often chance alone drops one out."""

import numpy as np
import pytest
from scipy import stats

from isplit_tf.selection.elimination import (
    FIRST_LOOK,
    Elimination,
    chance_to_win,
    discordant,
    loses_more,
    sign_test,
)


def run(right, whole, *, head_macs=None, max_loss=0.25, images="all"):
    """Race cuts over all images, and return who stays and how many images each saw."""
    n_cuts, n_rates, total = right.shape
    macs = np.arange(n_cuts) if head_macs is None else np.array(head_macs)
    race = Elimination(macs, n_rates, max_loss=max_loss, images=total if images == "all" else images)
    saw = np.zeros((n_cuts, n_rates), int)
    seen = 0
    while seen < total:
        now = min(race.next_look, total)
        saw[race.alive] = now
        race.look(whole[:now], right[:, :, :now])
        seen = now
    return race.alive, saw


def test_the_exact_tests():
    """Probabilities of coins, by hand and as scipy's own tests have them."""
    assert sign_test(5, 0) == 1 / 32
    assert sign_test(0, 0) == 1
    assert sign_test(3, 3) == pytest.approx(stats.binomtest(3, 6, alternative="greater").pvalue)
    assert discordant(np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)) == (1, 1)
    assert chance_to_win(0, 0, 500, 0) == 0
    assert chance_to_win(40, 0, 60, 100) == 1
    assert chance_to_win(3, 1, 64, 200) > chance_to_win(2, 2, 64, 200)


@pytest.mark.parametrize(("lost", "images"), [(4, 8), (8, 8), (12, 16), (30, 64), (120, 256)])
@pytest.mark.parametrize("wrong", [0, 1, 40])
def test_a_loss_is_clear_only_beyond_the_margin(lost, images, wrong):
    """The bounds are those of Clopper and Pearson; just above the margin nothing is clear."""
    lowest = images * stats.binomtest(lost, images).proportion_ci(0.98, "exact").low
    highest = wrong * stats.binomtest(0, wrong).proportion_ci(0.98, "exact").high if wrong else 0
    total = images + wrong
    assert loses_more(0, lost, images, total, 0.2, 0.02) == (lowest - highest > 0.2 * total)
    assert not loses_more(0, round(0.26 * images), images, total, 0.25, 0.01)


def test_after_eight_images_that_are_all_lost_it_is_clear():
    """A cut that keeps nothing is out at the first look, also if the whole model has an image wrong."""
    whole = np.ones(512, bool)
    whole[3] = False
    _, saw = run(np.zeros((1, 1, 512), bool), whole)
    assert saw[0, 0] == FIRST_LOOK


def test_an_earlier_cut_never_drops_out_for_a_later_one():
    """A cheaper head that keeps less is another trade; only one that loses too much is out."""
    rng = np.random.default_rng(0)
    whole = np.ones(512, bool)
    right = rng.random((3, 1, 512)) < np.array([0.8, 0.9, 0.99])[:, None, None]
    alive, _ = run(right, whole)
    assert alive.ravel().tolist() == [True, True, True]


def test_a_cut_that_is_worse_and_dearer_drops_out():
    """A later cut that keeps clearly less than an earlier one is of no use."""
    rng = np.random.default_rng(1)
    whole = np.ones(512, bool)
    right = rng.random((3, 2, 512)) < np.array([[0.95, 0.5], [0.8, 0.9], [0.99, 0.92]])[:, :, None]
    alive, saw = run(right, whole)
    assert alive.tolist() == [[True, False], [False, True], [True, True]]
    assert saw[0, 1] <= 128
    assert saw[1, 0] < 512


def test_of_equal_heads_either_may_drop_out():
    """A convolution and its pooling cost as much: the worse of them is out, whichever comes first."""
    rng = np.random.default_rng(2)
    right = rng.random((2, 1, 512)) < np.array([0.8, 0.99])[:, None, None]
    alive, _ = run(right, np.ones(512, bool), head_macs=[7, 7])
    assert alive.ravel().tolist() == [False, True]


def test_later_cuts_that_bring_nothing_drop_out_but_the_best():
    """Cuts with the answers of an earlier one are idle; the one that is ahead stays."""
    rng = np.random.default_rng(3)
    first = rng.random(1024) < 0.9
    right = np.stack([first] * 6)[:, None]
    right[4, 0, np.flatnonzero(~first)[:3]] = True
    alive, saw = run(right, np.ones(1024, bool))
    assert alive.ravel().tolist() == [True, False, False, False, True, False]
    assert saw.sum() < 4 * 1024


@pytest.mark.parametrize("images", ["all", None])
def test_chance_alone_hardly_drops_anyone(images):
    """Of 200 races between equal cuts whose order of heads forbids idleness, at most 5 % lose one, looks and all."""
    rng = np.random.default_rng(4)
    dropped = 0
    for _ in range(200):
        whole = rng.random(512) < 0.9
        right = rng.random((2, 1, 512)) < 0.8
        alive, _ = run(right, whole, head_macs=[1, 0], images=images)
        dropped += not alive.all()
    assert dropped <= 14


def test_a_loss_at_the_margin_hardly_drops_anyone():
    """Of 200 cuts that lose exactly `max_loss`, at most 5 % drop out."""
    rng = np.random.default_rng(5)
    whole = np.ones(512, bool)
    right = rng.random((200, 512)) >= 0.25
    dropped = sum(not run(one[None, None], whole)[0].all() for one in right)
    assert dropped <= 14


def test_looks_double():
    """Looks come after 8, 16, 32, ... images; after the last image no one drops out."""
    race = Elimination(np.arange(2), 1, max_loss=0.25, images=16)
    whole, right = np.ones(16, bool), np.zeros((2, 1, 16), bool)
    assert race.next_look == FIRST_LOOK
    race.look(whole, right)
    assert race.alive.all()
    assert race.next_look == 32
