"""A kit to measure with: heads at many cuts, the whole model and some images for a device, all tails for a server."""

import functools
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from isplit_edge import kit as layout
from isplit_edge.files import make_folder, write_atomic
from isplit_edge.identity import array_sha256, canonical_json
from isplit_edge.kit import Kit
from isplit_edge.manifest import HEAD_FILE, PRECISIONS, Manifest, contract, file_record
from isplit_edge.preprocessing import resolve_preprocessing

from ..bottlenecks.projection import Projection
from ..bottlenecks.records import bottleneck_to_json
from ..display.progress import bar
from ..errors import ArgumentError, BundleError, ExistsError, ExportError, NumericsError
from ..graph.axis import choose_cuts
from ..graph.cuts import Cut, list_cuts
from ..graph.model_identity import program_sha256
from ..graph.passes import require_runnable
from ..graph.preprocessor import require_same_as_predict
from ..graph.program import read_program
from ..splitting import SplitModel
from ..storage.directories import check_replaceable, replacing
from ..storage.records import read_arrays, write_arrays
from .coded_lengths import measure_lengths
from .fingerprint import bundle_id
from .kit_files import HEADS, WHOLE, complete_kit, head_folder
from .kit_images import FIT_IMAGES, KitImages
from .kit_splits import SharedModel, bottleneck_state, restore_bottleneck
from .litert.converter import ConvertedHead, convert
from .litert.turns import turn
from .local_fallback import probability_model
from .request import ExportRequest, make_request, package_versions

PAYLOAD_BYTES = 1000
_STATE, _SETTINGS = "state", "settings.json"
_DEFAULT = Projection(payload_bytes=PAYLOAD_BYTES)


def build_kit(
    model: keras.Model,
    directory: str | os.PathLike[str],
    *,
    cuts: str | Sequence[Cut | int | str] = "main",
    bottleneck: Any = _DEFAULT,
    representative_data: Any,
    precision: str = "int8",
    preprocessing: str | Mapping[str, Any] | None = None,
    output: str | int | None = None,
    from_logits: bool | None = None,
    output_kind: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Kit:
    """Write a kit, with which a device and a server are measured before a split is chosen.

    For a device, it holds a head with its encoder at every cut, the whole model, and some images: `python -m
    isplit_edge profile` measures them. For a server, it holds one SavedModel with the tails at all cuts, the whole
    model, and the whole model behind JPEG and PNG: TensorFlow Serving runs it, and `isplit profile` measures it. What
    cannot be converted is left out, and the kit says why.

    The directory appears when the kit is complete. What a call that was interrupted has converted stays beside it, in
    `.NAME.partial`, and the same call goes on from there.

    Args:
        model: A built classifier of one input; it is not changed.
        directory: Where to.
        cuts: "main", "all", or a list of cuts.
        bottleneck: What is between the halves at each cut; by default `Projection(payload_bytes=1000)`, in another
            precision than int8 without coding. None for the cut's own tensor.
        representative_data: Images, labels ignored: at least 16, of which 32 at most are used, spread over the data.
            uint8 images get the preprocessing; others are in the model's own space.
        precision: Of the heads and the whole model: "int8", "int16x8", "float16", "dynamic" or "float32".
        preprocessing: What turns a camera's uint8 RGB image into the model's input, as in `export_bundle`.
        output: Name or index of the output with the class scores, if the model has several.
        from_logits: Says of linear outputs whether they are logits, where the model does not.
        output_kind: What the output is, "probabilities", "logits" or "multi_label".
        overwrite: Whether a kit that is there may be replaced.
        progress: Whether bars may show, on standard error.

    Returns:
        The kit, loaded.

    Raises:
        ArgumentError: If an argument is outside of what is possible.
        DataError: If there are fewer than 16 images, or they are of a wrong shape or range.
        ExistsError: If the directory exists and `overwrite` was not given, or holds something else than a kit.
        ExportError: If no head can be converted as asked; the message names the reason of each cut.
        ModelError: If the model has no cut, or its output is not class scores.

    Example:
        >>> kit = build_kit(model, "kit/", cuts=["block3_pool"], representative_data=train_data, overwrite=True)
        >>> print(kit)
    """
    target = Path(directory)
    _check_place(target, overwrite)
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision must be one of {', '.join(PRECISIONS)}. Received: {precision!r}.")
    if bottleneck is _DEFAULT and precision != "int8":
        bottleneck = Projection(payload_bytes=PAYLOAD_BYTES, coding="none")
    program = read_program(model, output=output)
    require_runnable(program)
    require_same_as_predict(model, program)
    if len(program.inputs) != 1:
        raise ExportError(f"A kit is of a model of one input. Found: {len(program.inputs)} inputs of '{model.name}'.")
    chosen = choose_cuts(program, cuts)
    shape = tuple(int(axis or 0) for axis in program.tensors[program.inputs[0]].sample_shape)
    record = resolve_preprocessing(preprocessing, shape)
    images = KitImages.read(representative_data, shape, record, progress=progress)
    every = list_cuts(program)
    shared = SharedModel.of(model, program, every, output=output, from_logits=from_logits, output_kind=output_kind)
    build = _Build(
        shared=shared,
        cuts=chosen,
        bottleneck=bottleneck,
        precision=precision,
        preprocessing=record,
        images=images,
        model_sha256=program_sha256(program, model, every),
        progress=progress,
    )
    return build.run(target)


def _check_place(target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise ExistsError(f"'{target}' exists. Give overwrite=True to replace the kit, or another directory.")
    check_replaceable(target, "kit", layout.KIT_FILE)


@dataclass(frozen=True, eq=False)
class _Build:
    """The making of one kit, with all that it is made of."""

    shared: SharedModel
    cuts: Sequence[Cut]
    bottleneck: Any
    precision: str
    preprocessing: Mapping[str, Any] | None
    images: KitImages
    model_sha256: str
    progress: bool

    def run(self, target: Path) -> Kit:
        """Make the kit, from what an interrupted call has left beside it."""
        partial = self._partial(target)
        splits = [self.shared.split(cut, self.bottleneck) for cut in self.cuts]
        self._fit(partial, splits)
        jobs: dict[str, Callable[[], Any]] = {
            one.cut.name: functools.partial(self._head, partial, one) for one in splits
        }
        results, refused = self._all({**jobs, WHOLE: functools.partial(self._whole, partial)})
        requests = {one.cut.index: results[one.cut.name] for one in splits if one.cut.name in results}
        if not requests:
            reasons = "; ".join(f"'{name}': {why}" for name, why in refused.items())
            raise ExportError(f"No head of '{self.shared.model.name}' can be converted as asked. {reasons}")
        found = [(one, requests[one.cut.index]) for one in splits if one.cut.index in requests]
        with replacing(target) as scratch:
            for name in (HEADS, WHOLE):
                if (partial / name).is_dir():
                    shutil.copytree(partial / name, scratch / name, ignore=shutil.ignore_patterns(".*"))
            np.savez_compressed(scratch / layout.IMAGES_FILE, images=self.images.raw)
            complete_kit(scratch, self.shared, found, refused=refused, **self._identity())
        shutil.rmtree(partial, ignore_errors=True)
        return Kit.load(target)

    def _all(self, jobs: Mapping[str, Callable[[], Any]]) -> tuple[dict[str, Any], dict[str, str]]:
        """Run jobs that convert, and return their results, and why others cannot be converted.

        Two threads take turns: while the worker process converts for one, the other prepares the next.
        """
        results: dict[str, Any] = {}
        refused: dict[str, str] = {}

        def run(name: str) -> None:
            try:
                with turn():
                    results[name] = jobs[name]()
            except (ExportError, NumericsError) as error:
                refused[name] = str(error)

        first, *others = jobs
        with bar(total=len(jobs), desc="heads", unit="head", enabled=self.progress) as progress_bar:
            run(first)  # alone: the first conversion of a process runs in it
            progress_bar.update()
            with ThreadPoolExecutor(2) as threads:
                try:
                    for _ in threads.map(run, others):
                        progress_bar.update()
                except BaseException:
                    threads.shutdown(wait=False, cancel_futures=True)
                    raise
        return results, {name: refused[name] for name in jobs if name in refused}

    def _partial(self, target: Path) -> Path:
        """Return the folder of what is done, empty unless the same kit was begun."""
        place = target.resolve()
        partial = place.with_name(f".{place.name}.partial")
        settings = canonical_json(self._settings())
        known = partial / _SETTINGS
        if not known.is_file() or known.read_bytes() != settings:
            shutil.rmtree(partial, ignore_errors=True)
            make_folder(partial / _STATE)
            write_atomic(known, settings)
        return partial

    def _settings(self) -> dict[str, Any]:
        bottleneck = self.bottleneck
        is_known = bottleneck is None or hasattr(bottleneck, "get_config")
        return {
            "model_sha256": self.model_sha256,
            "cuts": [[cut.index, list(cut.shape)] for cut in self.cuts],
            "bottleneck": bottleneck_to_json(bottleneck) if is_known else {"class": repr(bottleneck)},
            "precision": self.precision,
            "preprocessing": self.preprocessing,
            "output": self.shared.logits.output.kind,
            "images": array_sha256(self.images.x),
            "versions": package_versions(),
        }

    def _identity(self) -> dict[str, Any]:
        return {"model_sha256": self.model_sha256, "settings": self._settings(), "preprocessing": self.preprocessing}

    def _fit(self, partial: Path, splits: Sequence[SplitModel]) -> None:
        """Fit the bottlenecks whose weights are not there yet."""
        new = []
        for one in splits:
            path = self._state_file(partial, one)
            if path.is_file():
                restore_bottleneck(one, read_arrays(path, 1, fault="is no state of a kit", kind="bottleneck")[1])
            else:
                new.append(one)
        self.shared.fit(new, self.images.x[:FIT_IMAGES], progress=self.progress)
        for one in new:
            write_arrays(self._state_file(partial, one), 1, {"kind": "bottleneck"}, bottleneck_state(one))

    def _state_file(self, partial: Path, one: SplitModel) -> Path:
        return partial / _STATE / f"{one.cut.index:03d}.npz"

    def _head(self, partial: Path, one: SplitModel) -> ExportRequest:
        """Convert a head unless it is there, and return its request."""
        request = make_request(
            one,
            precision=self.precision,
            class_names=None,
            preprocessing=self.preprocessing,
            model_name=layout.SERVED_NAME,
            version=layout.SERVED_VERSION,
            target=None,
            from_logits=None,
            output_kind=None,
            converter="tf.lite",
        )
        folder = partial / head_folder(one.cut)
        try:
            Manifest.load(folder)
        except BundleError:
            self._convert(folder, one, request)
        return request

    def _convert(self, folder: Path, one: SplitModel, request: ExportRequest) -> None:
        calibrating = self.images.calibrating
        head = convert(
            one.head, one.encoder, precision=self.precision, representative=calibrating, read=one.read, progress=False
        )
        if request.code is not None:
            request = request.with_lengths(measure_lengths(head, calibrating, request.code), None)
        record = request.filled(head)
        record["bundle_id"] = bundle_id(head.content, one.tail, one.decoder, contract(record))
        with replacing(folder) as scratch:
            (scratch / HEAD_FILE).parent.mkdir()
            (scratch / HEAD_FILE).write_bytes(head.content)
            Manifest.from_dict({**record, "files": {HEAD_FILE: file_record(scratch / HEAD_FILE)}}).write(scratch)

    def _whole(self, partial: Path) -> None:
        if (partial / WHOLE).is_dir():
            return
        shared, last = self.shared, probability_model(self.shared.logits.output)
        whole: ConvertedHead = convert(
            shared.model, last, precision=self.precision, representative=self.images.calibrating, progress=False
        )
        with replacing(partial / WHOLE) as scratch:
            (scratch / Path(layout.WHOLE_FILE).name).write_bytes(whole.content)
