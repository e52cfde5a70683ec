"""Many independent jobs with one file of results; here or on a Ray cluster, and one that ended early goes on."""

from .run import run_sweep
from .store import Row, Store, Task, Worker

__all__ = ["Row", "Store", "Task", "Worker", "run_sweep"]
