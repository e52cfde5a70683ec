"""Threads that convert in turns: one prepares at a time, also while others wait for the worker."""

import threading
from concurrent.futures import ThreadPoolExecutor

from isplit_tf.export.litert.turns import given_away, taken_back, turn


def test_one_thread_has_the_turn_and_another_may_take_it_meanwhile():
    """Inside a turn never two; while the first waits for the worker the second gets its turn, and back."""
    inside, most, away = [], [], threading.Barrier(2, timeout=10)

    def enter():
        inside.append(threading.get_ident())
        most.append(len(inside))
        inside.remove(threading.get_ident())

    def job(_):
        with turn():
            enter()
            with given_away():
                away.wait()  # both are here at once
                with taken_back():
                    enter()
            enter()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(job, range(2)))
    assert most == [1] * 6


def test_a_thread_without_a_turn_gives_nothing_away():
    """A conversion outside of turns goes on as if there were none."""
    with given_away(), taken_back():
        pass
    with turn(), given_away(), turn():
        pass


def test_a_failure_ends_the_turn():
    """After an error inside, also in the midst of a wait, others get their turn."""
    for place in (turn, given_away):
        try:
            with turn(), place() if place is given_away else given_away():
                raise ValueError
        except ValueError:
            pass
        with turn():
            pass
