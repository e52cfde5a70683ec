"""Sweeps of many independent jobs, in this process or on a Ray cluster, with one results file and resumption."""

from .run import run_sweep
from .store import Row, Store, Task, Worker

__all__ = ["Row", "Store", "Task", "Worker", "run_sweep"]
