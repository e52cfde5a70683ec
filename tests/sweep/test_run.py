"""Sweeps: every task once, whatever dies, here and on a real Ray cluster of this machine."""

import gc
import os
import sys
import warnings
from functools import partial
from pathlib import Path

import pytest

from isplit_tf.errors import MissingDependencyError, SweepError
from isplit_tf.sweep import Store, run_sweep
from isplit_tf.sweep.cluster import start
from support.squares import Square, worker


def open_tasks(tasks, store):
    return [task for task in tasks if task.key not in store]


def sweep(tmp_path, tasks, **arguments):
    store = Store(tmp_path / "rows.jsonl")
    return store, run_sweep(partial(open_tasks, tasks, store), worker, store, **arguments)


def test_what_is_done_is_not_done_again(tmp_path):
    """A second sweep over more tasks does the new ones only, and says what is left."""
    said = []
    sweep(tmp_path, [Square(k, str(tmp_path)) for k in range(2)])
    store, done = sweep(tmp_path, [Square(k, str(tmp_path)) for k in range(4)], say=said.append)
    assert done
    assert [row["square"] for row in store.rows()] == [0, 1, 4, 9]
    assert said == ["  n2: done; 1 left", "  n3: done; 0 left"]
    assert len(list(tmp_path.glob("n*"))) == 4


def test_a_deadline_begins_no_further_task(tmp_path):
    """A sweep that is out of time says so, and what is done stays."""
    said = []
    store, done = sweep(tmp_path, [Square(1, str(tmp_path))], deadline=0.0, say=said.append)
    assert not done
    assert len(store) == 0
    assert said == ["  stopped with 1 left"]


def test_a_task_waits_until_what_it_needs_is_there(tmp_path):
    """The order of tasks gives way to what they need."""
    tasks = [Square(1, str(tmp_path)), Square(2, str(tmp_path))]
    store = Store(tmp_path / "rows.jsonl")
    run_sweep(partial(open_tasks, tasks, store), worker, store, ready=lambda task: task.number == 2 or "n2" in store)
    assert [row["key"] for row in store.rows()] == ["n2", "n1"]


def test_without_ray_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    """A cluster is asked for and Ray is missing."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'isplit-tf\[cluster\]'"):
        sweep(tmp_path, [Square(1, str(tmp_path))], cluster="local")


@pytest.fixture(scope="module")
def cluster():
    """A cluster of this machine, whose workers find `support.squares`."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
        start(ray, "local", num_cpus=2)
        yield ray
        ray.shutdown()


@pytest.fixture
def stalled(monkeypatch):
    """A machine on which Ray's first process gets no time to start."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    monkeypatch.setenv("RAY_gcs_server_port_wait_time_s", "0")
    yield ray
    ray.shutdown()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()  # what Ray left of the processes that came too late


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.usefixtures("stalled")
def test_a_machine_on_which_ray_does_not_start(tmp_path):
    """The error says so, and what else can be done; nothing was begun."""
    with pytest.raises(SweepError, match=r"did not start on this machine, 3 times: Timed out .*`ray start --head`"):
        sweep(tmp_path, [Square(1, str(tmp_path))], cluster="local")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_machine_that_was_busy_gets_another_attempt(tmp_path, stalled, monkeypatch):
    """Ray's first start fails, the second one comes."""
    init = stalled.init
    times = iter(("0", "120"))

    def with_time(*args, **kwargs):
        monkeypatch.setenv("RAY_gcs_server_port_wait_time_s", next(times))
        return init(*args, **kwargs)

    monkeypatch.setattr(stalled, "init", with_time)
    start(stalled, "local", num_cpus=1)
    assert stalled.is_initialized()
    assert next(times, None) is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("cluster")
def test_the_death_of_a_worker_loses_nothing(tmp_path):
    """Two of six tasks kill the process that does them: the results are whole, the others are done once."""
    said = []
    tasks = [Square(k, str(tmp_path), deaths=int(k in (1, 4))) for k in range(6)]
    store, done = sweep(tmp_path, tasks, cluster="local", say=said.append)
    assert done
    assert sorted((row["key"], row["square"]) for row in store.rows()) == [(f"n{k}", k * k) for k in range(6)]
    for task in tasks:
        assert len(list(tmp_path.glob(f"{task.key}-*"))) == 1 + task.deaths
    assert sum("its worker died" in line for line in said) == 2
    assert "  2 workers" in said


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("cluster")
def test_a_task_that_kills_every_worker_is_named(tmp_path):
    """After three deaths the sweep ends with the task's name; what else was finished stays."""
    with pytest.raises(SweepError, match="'n1' lost its worker 3 times"):
        sweep(tmp_path, [Square(0, str(tmp_path)), Square(1, str(tmp_path), deaths=9)], cluster="local")
    assert "n0" in Store(tmp_path / "rows.jsonl")
