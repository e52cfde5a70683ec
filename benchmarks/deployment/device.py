"""The device's side of the trial, a process of its own without TensorFlow.

`device.py profile KIT JSON` prints a device's profile; `device.py link KIT URL SECONDS` the fit of a link;
`device.py run KIT URL JSON` classifies frames one after another by each option, and prints the seconds of each.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from isplit_edge import rest
from isplit_edge.encoding import encoders
from isplit_edge.interpreter import Head
from isplit_edge.kit import SERVED_NAME, SERVED_VERSION, WHOLE_FILE, Kit
from isplit_edge.transport import HttpConnection
from isplit_edge.whole import WholeModel

TIMEOUT_S, WARM_UP, ROUNDS = 60.0, 1, 2


def way(kit: Kit, connection: HttpConnection | None, option: dict[str, Any]) -> Callable[[np.ndarray], Any]:
    """Return what classifies one image by an option, from the image to the answer."""
    if option["kind"] == "local":
        whole = WholeModel(kit.directory / WHOLE_FILE, kit.preprocessing, kit.input_shape, 1)
        return lambda image: whole.run(whole.prepare(image))
    path = f"/v1/models/{SERVED_NAME}/versions/{SERVED_VERSION}:predict"

    def ask(body: bytes) -> Any:
        code, answer = connection.request("POST", path, body, max_answer_bytes=1 << 24)
        if code != 200:
            raise RuntimeError(f"the server answers {code}: {answer[:200]!r}")
        return rest.parsed(answer)

    if option["kind"] == "remote":
        wanted = (option["codec"], option["quality"])
        form = next(one for one in encoders(kit.read_images()) if (one.codec, one.quality) == wanted)
        return lambda image: ask(rest.predict_body([form.encode(image)], "encoded").replace(b'"payload":', b'"image":'))
    cut = next(one for one in kit.cuts if one.name == option["cut"])
    head = Head(kit.directory / cut.directory, num_threads=1)
    return lambda image: ask(rest.predict_body([head.encode(head.prepare(image))], cut.signature))


def run(folder: str, url: str, request: dict[str, Any]) -> None:
    """Classify frames by each option, some after another as in use, in rounds so that what changes meets all."""
    kit, connection = Kit.load(folder), None
    if url:
        connection = HttpConnection(url, timeout_s=TIMEOUT_S, retries=0, token=None)
    images = kit.read_images()
    ways = [way(kit, connection, option) for option in request["options"]]
    found: list[list[float]] = [[] for _ in ways]
    block = -(-request["frames"] // ROUNDS)
    for start in range(ROUNDS):
        for one, times in zip(ways, found, strict=True):
            for k in range(block + WARM_UP):
                begin = time.perf_counter()
                one(images[(start * block + k) % len(images)])
                if k >= WARM_UP:
                    times.append(time.perf_counter() - begin)
    print(json.dumps(found))


def profile(folder: str, request: dict[str, Any]) -> None:
    """Print the profile of this device."""
    from isplit_edge.profiling import measure_device

    found = measure_device(Kit.load(folder), threads=1, seconds=request["seconds"], memory=False)
    print(json.dumps(found.to_json()))


def link(folder: str, url: str, seconds: float) -> None:
    """Print the fit of the link to a server."""
    from isplit_edge.link_probe import Asked, LinkProbe

    kit = Kit.load(folder)
    asked = Asked(
        model_name=SERVED_NAME, version=SERVED_VERSION, signature=kit.cuts[-1].signature, n_classes=kit.n_classes
    )
    found, missing, _ = LinkProbe(url, asked, timeout_s=TIMEOUT_S).measure(seconds=seconds)
    if found is None:
        raise RuntimeError("; ".join(missing))
    print(json.dumps(found.to_json()))


def main() -> None:
    """Run the command line."""
    verb, folder, *rest_ = sys.argv[1:]
    if verb == "profile":
        profile(folder, json.loads(rest_[0]))
    elif verb == "link":
        link(folder, rest_[0], float(rest_[1]))
    else:
        run(folder, rest_[0], json.loads(rest_[1]))


if __name__ == "__main__":
    main()
