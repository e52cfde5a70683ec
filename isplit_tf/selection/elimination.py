"""The rule by which cuts drop out of a race: exact tests on the same images, which may be made again and again.

A race of cuts at several rates is looked at after 8, 16, 32, ... images and so on, doubled each time. At a look, a cut
drops out at a rate for one of three reasons:

- Dominated: a cut whose head takes no more multiply-accumulates is clearly better at this rate. Of the images that
  only one of the two answers correctly, too many are the other's (an exact sign test, which is McNemar's).
- Hopeless: it loses clearly more than `max_loss` against the whole model (exact bounds for what is lost of the images
  that the whole model has right, and for what is gained of the others).
- Idle: an earlier cut, whose head takes no more, is at least as good so far, and it is unlikely that the images that
  remain will show the later cut to be clearly better, that is by a sign test at 5 %. The best cut at a rate so far
  never drops out for this reason.

The first two are claims, and looking repeatedly gives chance more opportunities. So the error of all looks together
is spent in equal parts over the looks (alpha spending), and at each look over the cuts that a cut is compared with:
with a probability of 95 %, a cut never drops out because of one that is not better, nor for a loss that is not above
`max_loss`. The third is no claim about accuracy: it says that these images will hardly make a reason of the
difference for the larger head.
"""

import math
from functools import lru_cache

import numpy as np
from scipy import stats

FIRST_LOOK = 8
# The error of all looks together, for each cut, rate and kind of claim.
_ERROR = 0.05
# Chance of being shown to be better below which a later cut is idle, and the level at which that would be shown.
_CHANCE, _LEVEL = 0.05, 0.05
# Draws of what the remaining images may bring.
_DRAWS = 1000


class Elimination:
    """The standing of a race: which cuts are still in it at which rate.

    Args:
        head_macs: int `(n_cuts,)`, the multiply-accumulates of each cut's head; cuts are in topological order.
        n_rates: Number of rates.
        max_loss: Share of the images by which a cut may fall behind the whole model.
        images: The number of images at the end; None if it is not known.
        started: bool `(n_cuts, n_rates)`, who takes part; all by default.

    Attributes:
        alive: bool `(n_cuts, n_rates)`, who is still in the race.
    """

    def __init__(
        self,
        head_macs: np.ndarray,
        n_rates: int,
        *,
        max_loss: float,
        images: int | None,
        started: np.ndarray | None = None,
    ):
        self.alive = np.ones((len(head_macs), n_rates), bool) if started is None else started.copy()
        self.next_look = FIRST_LOOK
        self._head_macs, self._max_loss, self._images = np.asarray(head_macs), max_loss, images
        n_looks = 1 + max(0, math.floor(math.log2(max((images or 2**16) - 1, 1) / FIRST_LOOK)))
        self._error = _ERROR / n_looks

    def look(self, whole: np.ndarray, right: np.ndarray) -> None:
        """Drop out who is behind after some images; the next look is after twice as many.

        Args:
            whole: bool `(N,)`, whether the whole model is right.
            right: bool `(n_cuts, n_rates, N)`; rows of those who dropped out before are not read.
        """
        self.next_look = 2 * len(whole)
        if self._images is not None and len(whole) >= self._images:
            return
        for rate in range(self.alive.shape[1]):
            self._look_at(self.alive[:, rate], whole, right[:, rate])

    def _look_at(self, alive: np.ndarray, whole: np.ndarray, right: np.ndarray) -> None:
        """Drop out cuts at one rate; `alive` is changed."""
        cuts = np.flatnonzero(alive)
        for k in cuts:
            gained, lost = discordant(right[k], whole)
            known = int(np.count_nonzero(whole)), len(whole)
            alive[k] = not loses_more(gained, lost, *known, self._max_loss, self._error)
        if not alive.any():
            return
        cuts = np.flatnonzero(alive)
        leader = cuts[np.argmax(right[cuts].sum(axis=1))]
        for k in cuts:
            others = [d for d in cuts if d != k and alive[d] and self._head_macs[d] <= self._head_macs[k]]
            level = self._error / max(1, len(others))
            for d in others:
                gained, lost = discordant(right[k], right[d])
                behind = sign_test(lost, gained) <= level
                if behind or (d < k and k != leader and self._is_idle(gained, lost, len(whole))):
                    alive[k] = False
                    break

    def _is_idle(self, gained: int, lost: int, seen: int) -> bool:
        if gained > lost:
            return False
        remaining = seen if self._images is None else self._images - seen
        return chance_to_win(gained, lost, seen, remaining) < _CHANCE


def discordant(one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Return the number of images that only `one` has right, and of those that only `other` has right."""
    return int(np.count_nonzero(one & ~other)), int(np.count_nonzero(other & ~one))


@lru_cache(maxsize=2**14)
def sign_test(wins: int, losses: int) -> float:
    """Return the probability of at least so many wins if win and loss are equally likely."""
    return float(stats.binom.sf(wins - 1, wins + losses, 0.5))


@lru_cache(maxsize=2**14)
def loses_more(gained: int, lost: int, known: int, images: int, margin: float, error: float) -> bool:
    """Check whether more than `margin` of all images are lost, gained ones set off, except with probability `error`.

    Only what the whole model has right can be lost, and only what it has wrong gained: the least share of the ones and
    the most of the others are Clopper and Pearson's bounds, each with half of the error.

    Args:
        gained: Images that only the cut has right.
        lost: Images that only the whole model has right.
        known: Images that the whole model has right.
        images: All images.
        margin: From 0 to 1.
        error: Probability of a wrong answer, at most.
    """
    if lost - gained <= margin * images:
        return False
    unknown = images - known
    least_lost = stats.beta.ppf(error / 2, lost, known - lost + 1)
    most_gained = stats.beta.ppf(1 - error / 2, gained + 1, unknown - gained) if gained < unknown else 1.0
    return bool(known * least_lost - unknown * most_gained > margin * images)


@lru_cache(maxsize=2**14)
def chance_to_win(gained: int, lost: int, seen: int, remaining: int) -> float:
    """Return the probability that a sign test over all images will find the one with `gained` to be better.

    The images to come are drawn with shares that are themselves drawn, from what is known of them after `seen` images
    (a Dirichlet distribution, with half an image of each kind known before). Same numbers give the same result.
    """
    random = np.random.default_rng((gained, lost, seen, remaining))
    shares = random.dirichlet([gained + 0.5, lost + 0.5, seen - gained - lost + 0.5], _DRAWS)
    to_come = random.multinomial(remaining, shares)
    wins, losses = gained + to_come[:, 0], lost + to_come[:, 1]
    return float(np.mean(stats.binom.sf(wins - 1, wins + losses, 0.5) <= _LEVEL))
