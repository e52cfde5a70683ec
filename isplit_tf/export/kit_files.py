"""The files of a kit besides heads, whole model and images: the served model, and kit.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isplit_edge import kit as layout
from isplit_edge.client import MAX_BATCH
from isplit_edge.device_profile import utc_now
from isplit_edge.identity import canonical_json, tagged_sha256
from isplit_edge.kit import Kit, KitCut, KitWhole
from isplit_edge.manifest import Manifest, file_record

from ..graph.cuts import Cut
from ..server.models_config import MODELS_CONFIG
from ..splitting import SplitModel
from .kit_serving import Tail, write_served
from .kit_splits import SharedModel
from .request import ExportRequest, package_versions
from .serving.config_files import BATCHING_CONFIG, batching_config, models_config
from .serving.saved_model import LatentFormat

HEADS, WHOLE = "heads", "whole"


def head_folder(cut: Cut) -> str:
    """Return the folder of a cut's head in a kit."""
    return f"{HEADS}/{cut.index:03d}"


def complete_kit(
    root: Path,
    shared: SharedModel,
    found: Sequence[tuple[SplitModel, ExportRequest]],
    *,
    model_sha256: str,
    settings: Mapping[str, Any],
    preprocessing: Mapping[str, Any] | None,
    refused: Mapping[str, str],
) -> None:
    """Write the served model and kit.json into a folder that holds the heads, the whole model and the images.

    Args:
        root: The folder.
        shared: The model.
        found: The splits whose heads are there, and what was asked for.
        model_sha256: The identity of the user's model.
        settings: What the kit was made with, as JSON.
        preprocessing: What turns uint8 images into the model's input, or None.
        refused: What could not be converted, and why.
    """
    manifests = [Manifest.load(root / head_folder(one.cut)) for one, _ in found]
    tails = [_tail(one, request, manifest) for (one, request), manifest in zip(found, manifests, strict=True)]
    place = root / "serving" / layout.SERVED_NAME / str(layout.SERVED_VERSION)
    place.mkdir(parents=True)
    write_served(place, shared.model, tails, output=shared.logits.output, preprocessing=preprocessing)
    (root / "serving" / MODELS_CONFIG).write_text(models_config(layout.SERVED_NAME, layout.SERVED_VERSION))
    (root / "serving" / BATCHING_CONFIG).write_text(batching_config(MAX_BATCH))
    files = sorted(file for file in root.rglob("*") if file.is_file())
    records = {file.relative_to(root).as_posix(): file_record(file) for file in files}
    measured = {name: records[name]["sha256"] for name in records if name.endswith((".tflite", layout.IMAGES_FILE))}
    identity = [settings, measured, [manifest.bundle_id for manifest in manifests]]
    whole = root / layout.WHOLE_FILE
    asked = ((settings["bottleneck"] or {}).get("config") or {}).get("payload_bytes")
    Kit(
        kit_id=tagged_sha256([("isplit-kit", b"1"), ("kit", canonical_json(identity))]),
        model_name=shared.original.name,
        model_sha256=model_sha256,
        precision=settings["precision"],
        created=utc_now(),
        versions=package_versions(),
        input_shape=manifests[0].shapes["input"],
        n_classes=shared.logits.output.n_classes,
        preprocessing=preprocessing,
        bottleneck=settings["bottleneck"],
        whole=_whole_record(shared, found[0][0].cut, whole) if whole.is_file() else None,
        cuts=tuple(_cut_record(one.cut, man, asked) for (one, _), man in zip(found, manifests, strict=True)),
        images=layout.IMAGES_FILE,
        serving=f"serving/{layout.SERVED_NAME}/{layout.SERVED_VERSION}",
        refused=refused,
        files=records,
        directory=root,
    ).save()


def _tail(one: SplitModel, request: ExportRequest, manifest: Manifest) -> Tail:
    latent = LatentFormat(
        dtype=manifest.dtype,
        shape=manifest.shapes["latent"],
        scale=manifest.scale,
        zero_point=manifest.zero_point,
        bits=manifest.latent_bits,
        code=request.code,
        max_bytes=manifest.max_payload_bytes,
    )
    return Tail(f"cut_{one.cut.index}", one.decoder, one.tail, latent, manifest.tag)


def _whole_record(shared: SharedModel, cut: Cut, path: Path) -> KitWhole:
    return KitWhole(
        macs=cut.head_macs + cut.tail_macs,
        params=int(shared.model.count_params()),
        file=layout.WHOLE_FILE,
        size_bytes=path.stat().st_size,
    )


def _cut_record(cut: Cut, manifest: Manifest, asked: int | None) -> KitCut:
    return KitCut(
        index=cut.index,
        name=cut.name,
        shape=manifest.cut["shape"],
        head_macs=cut.head_macs,
        tail_macs=cut.tail_macs,
        encoder_macs=manifest.encoder["macs"],
        payload_bytes=manifest.payload_bytes if asked is None else asked,
        directory=head_folder(cut),
        size_bytes=manifest.head["size_bytes"],
        signature=f"cut_{cut.index}",
    )
