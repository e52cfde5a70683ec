"""The errors of `isplit_edge` and `isplit_tf`, one tree.

```text
ISplitError                         every error below; catch this one to catch all
├── ArgumentError (ValueError)      an argument outside of what is possible
├── DataError (ValueError)          images or labels of a wrong shape, type or range; no data; endless data
├── BundleError (ValueError)        a bundle that is incomplete, changed, or of a newer format
├── MissingDependencyError (ImportError)   an optional package is not installed
├── StorageError (OSError)          a file could not be written; what was there before is still there
├── ServerError (OSError)           the server refused, failed, or answered rubbish
│   ├── ServerUnreachableError (ConnectionError)
│   └── ServerTimeoutError (TimeoutError)
└── in isplit_tf.errors:
    ├── CutError (ValueError)       no such cut, or more than one tensor is open there
    ├── ModelError (ValueError)     a model that cannot be split, or whose output is not class scores
    ├── NumericsError (ArithmeticError)    NaN or infinity where a number was needed
    ├── ExportError (ValueError)    a head that cannot be converted as asked
    ├── PlanError (ValueError)      no option of a plan keeps the bounds, or its profiles are not of one model
    ├── ExistsError (FileExistsError)      the target exists and `overwrite` was not given
    └── SweepError (RuntimeError)   a job of a sweep lost its worker again and again
```

Each message says what was asked, what was found, and what is possible.
"""


class ISplitError(Exception):
    """Any error that this project raises on purpose."""


class ArgumentError(ISplitError, ValueError):
    """An argument is outside of what is possible."""


class DataError(ISplitError, ValueError):
    """Images or labels have a wrong shape, type or range, or there are none, or they never end."""


class BundleError(ISplitError, ValueError):
    """A bundle is incomplete, was changed, or has a format newer than this code."""


class MissingDependencyError(ISplitError, ImportError):
    """An optional package is not installed; the message names the line that installs it."""


class StorageError(ISplitError, OSError):
    """A file could not be written: the disk is full or fails, or permission is missing. What was there is kept."""


class ServerError(ISplitError, OSError):
    """The server refused, failed, or broke the protocol in its answer."""


class ServerUnreachableError(ServerError, ConnectionError):
    """No connection to the server was possible, or it broke off."""


class ServerTimeoutError(ServerError, TimeoutError):
    """The server did not answer in the time given."""
