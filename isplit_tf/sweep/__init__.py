"""Many independent jobs with one file of results; in this process or on a Ray cluster, and resumable."""

from .run import run_sweep
from .store import Row, Store, Task, Worker

__all__ = ["Row", "Store", "Task", "Worker", "run_sweep"]
