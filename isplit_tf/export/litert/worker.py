"""The process in which conversions run, so that the memory that TensorFlow's converter loses is lost with it.

Run as `serve()` by `isplit_tf.export.litert.process`. Requests come as lines of JSON on standard input: a folder with
`graph.pb` and perhaps `images.npy`, and the fields of a `Task`. Answers go as lines of JSON to standard output: that
the process is ready, each image that was used, and how a conversion ended. What the converter prints goes to `log` in
the folder.
"""

import gc
import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

IDLE_S = 60.0
MOST_CONVERSIONS = 50
SMALL_BYTES = 64 * 2**20
GRAPH_FILE, IMAGES_FILE, RESULT_FILE, LOG_FILE = "graph.pb", "images.npy", "head.tflite", "log"


class _Shown(NamedTuple):
    """The progress as lines to the process that asked."""

    answers: Any

    def update(self, count: int) -> None:
        """Send the number of images that were used."""
        _send(self.answers, {"images": count})


def serve() -> None:
    """Convert what is asked for, one graph after the other; end when nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks decides what an interrupt means
    code = 1
    try:
        with os.fdopen(os.dup(1), "w") as answers:
            os.dup2(2, 1)
            _serve(answers)
        code = 0
    finally:
        if code:
            sys.excepthook(*sys.exc_info())
        os._exit(code)  # the thread that listens would hold the process up


def _serve(answers: Any) -> None:
    from . import conversion, engines  # TensorFlow, which takes seconds

    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    _send(answers, {"ready": True})
    for _ in range(MOST_CONVERSIONS):
        try:
            request = requests.get(timeout=IDLE_S)
        except queue.Empty:
            return
        _send(answers, _answer(conversion, engines, request, answers))


def _listen(requests: "queue.Queue[dict[str, Any]]") -> None:
    """Pass requests on; when the process that asks has gone, end at once, also amid a conversion."""
    for line in sys.stdin:
        requests.put(json.loads(line))
    os._exit(1)


def _answer(conversion: Any, engines: Any, request: dict[str, Any], answers: Any) -> dict[str, Any]:
    import numpy as np
    from tensorflow.core.framework import graph_pb2

    folder = Path(request["folder"])
    log = os.open(folder / LOG_FILE, os.O_WRONLY | os.O_CREAT)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    images = np.load(folder / IMAGES_FILE, mmap_mode="r") if (folder / IMAGES_FILE).exists() else ()
    task = conversion.Task(**{**request["task"], "input_shape": tuple(request["task"]["input_shape"])})
    saved = str(folder / "saved")
    conversion.save_graph(graph_pb2.GraphDef.FromString((folder / GRAPH_FILE).read_bytes()), task, saved)
    if (folder / GRAPH_FILE).stat().st_size > SMALL_BYTES:
        gc.collect()  # the graph, which the converter does not need any more
    try:
        content = engines.run_converter(saved, task, images, _Shown(answers))
    except conversion.ConversionFailed as error:
        return {"message": str(error)}
    (folder / RESULT_FILE).write_bytes(content)
    return {"done": True}


def _send(answers: Any, record: dict[str, Any]) -> None:
    answers.write(json.dumps(record) + "\n")
    answers.flush()
