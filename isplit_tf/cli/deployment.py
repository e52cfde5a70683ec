"""The commands that bring a split to device and server, and try it: `export`, `publish`, `serve` and `predict`."""

import argparse
import contextlib
from pathlib import Path
from typing import Any

from isplit_edge.text import printable

from .amounts import whole
from .files import read_preprocessing
from .inputs import in_order_of, open_images, open_model, read_image
from .options import add_command, add_custom_objects, add_data, add_input, add_output, add_output_kind
from .output import Result, free_output, say


def define_export(commands: Any) -> None:
    """Add `isplit export` to the commands."""
    parser = add_command(
        commands,
        "export",
        run_export,
        "write the bundle: head for the device, tail for TensorFlow Serving",
        "isplit export trained/ --representative-data train/ --evaluation-data test/ -o bundle/",
    )
    parser.add_argument("split", help="what isplit split or isplit train wrote")
    add_data(parser, name="--representative-data", required=False, what="images that set the int8 ranges")
    add_data(parser, name="--evaluation-data", required=False, what="labelled images for the manifest's accuracy")
    parser.add_argument("--original", metavar="MODEL", help="the .keras or .h5 file that was split, for its accuracy")
    parser.add_argument("--original-output", metavar="NAME", help="its output with the class scores, if it has several")
    parser.add_argument("--precision", default="int8", help="int8, int16x8, float16, dynamic, float32 (default: int8)")
    parser.add_argument(
        "--converter", default="tf.lite", help="tf.lite or litert, which needs isplit-tf[litert] (default: tf.lite)"
    )
    add_output_kind(parser, logits=False)
    parser.add_argument("--target", choices=["microcontroller"], help="also write the head as C, and measure its arena")
    parser.add_argument("--flash-bytes", type=whole, metavar="N", help="refuse a head whose array is larger")
    parser.add_argument("--ram-bytes", type=whole, metavar="N", help="refuse a head that needs more for its arena")
    ranking = parser.add_mutually_exclusive_group()
    ranking.add_argument(
        "--accuracy", metavar="FILE", help="what isplit accuracy wrote, to name the best cut that fits"
    )
    ranking.add_argument("--curve", metavar="FILE", help="what isplit importance wrote, in place of --accuracy")
    parser.add_argument("--ethos-u", metavar="NPU", help="estimate for an Ethos-U, such as ethos-u55-128")
    parser.add_argument(
        "--local-fallback", action="store_true", help="the whole model too, for a device that finds no server"
    )
    parser.add_argument(
        "--max-payload-bytes",
        type=whole,
        metavar="N",
        help="the longest payload of a coded latent; the rest is left out",
    )
    parser.add_argument("--model-name", default="tail", help="on the server (default: tail)")
    parser.add_argument("--model-version", type=whole, default=1, metavar="N", help="on the server (default: 1)")
    add_input(parser)
    add_custom_objects(parser)
    add_output(parser, "bundle", "the bundle's folder", holds="bundle")


def run_export(args: argparse.Namespace) -> Result:
    """Run `isplit export`: write the bundle of a split."""
    from ..export.bundle import export_bundle
    from ..importance.curve import Curve
    from ..selection.accuracy_curve import AccuracyCurve
    from ..splitting import SplitModel

    output = free_output(args, "bundle")
    ranking = Curve.load(args.curve) if args.curve else AccuracyCurve.load(args.accuracy) if args.accuracy else None
    halves = SplitModel.load(args.split)
    shape = halves.model.inputs[0].shape[1:]

    def open_if_given(spec: str | None, split: str, shuffle: bool | str) -> tuple[Any, Any]:
        return open_images(spec, args, shape, split=split, shuffle=shuffle) if spec else (None, None)

    representative, names = open_if_given(args.representative_data, "train", "once")
    evaluation, evaluation_names = open_if_given(args.evaluation_data, "test", False)
    if evaluation_names is not None and len(names or ()) < len(evaluation_names):
        names = evaluation_names
    source = f"'{args.representative_data}'"
    evaluation = in_order_of(names, evaluation, evaluation_names, of=source, spec=args.evaluation_data)
    bundle = export_bundle(
        halves,
        output,
        representative_data=representative,
        evaluation_data=evaluation,
        original=open_model(args.original) if args.original else None,
        original_output=args.original_output,
        class_names=names,
        preprocessing=read_preprocessing(args.preprocessing),
        precision=args.precision,
        output_kind=args.output_kind,
        converter=args.converter,
        target=args.target,
        flash_bytes=args.flash_bytes,
        ram_bytes=args.ram_bytes,
        curve=ranking,
        ethos_u=args.ethos_u,
        local_fallback=args.local_fallback,
        max_payload_bytes=args.max_payload_bytes,
        model_name=args.model_name,
        version=args.model_version,
        overwrite=args.overwrite,
    )
    say(f"wrote {output}")
    return Result(f"{bundle!r}\n{_accuracy_line(bundle.manifest.accuracy)}", bundle.manifest.to_dict())


def _accuracy_line(accuracy: Any) -> str:
    """Return what the manifest says of the accuracy of the original, the split and the exported pair."""
    if accuracy["images"] is None:
        return "accuracy: not measured; give --evaluation-data, labelled images, to measure it through the files."
    named = {"original": "original", "split": "split in float", "artefacts": "exported pair over the wire"}
    shown = [f"{words} {accuracy[name]:.4f}" for name, words in named.items() if accuracy.get(name) is not None]
    return f"accuracy on {accuracy['images']:,} images: {', '.join(shown)}"


def define_publish(commands: Any) -> None:
    """Add `isplit publish` to the commands."""
    parser = add_command(
        commands,
        "publish",
        run_publish,
        "add a bundle's tail to a server's folder, beside the versions that are there",
        "isplit publish bundle/ models/ --label stable",
    )
    parser.add_argument("bundle", help="what isplit export wrote")
    parser.add_argument("models_dir", help="the folder that TensorFlow Serving mounts at /models")
    parser.add_argument(
        "--label", action="append", default=[], metavar="NAME", help="let a label such as stable stand for this version"
    )


def run_publish(args: argparse.Namespace) -> Result:
    """Run `isplit publish`: add a bundle's tail to the folder of a server."""
    from ..export.publication import publish

    publication = publish(args.bundle, args.models_dir, labels=args.label)
    record = {
        "model_name": publication.model_name,
        "version": publication.version,
        "bundle_id": publication.bundle_id,
        "versions": {str(version): identity for version, identity in publication.versions.items()},
        "labels": dict(publication.labels),
    }
    return Result(repr(publication), record)


def define_serve(commands: Any) -> None:
    """Add `isplit serve` to the commands."""
    parser = add_command(
        commands,
        "serve",
        run_serve,
        "serve a bundle's tail here, for trying things out",
        "isplit serve bundle/ --port 8501",
    )
    parser.add_argument("bundle", help="what isplit export wrote, or the folder of isplit publish")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=whole, default=8501, help="the port of REST; 0 for a free one (default: 8501)")
    parser.add_argument("--grpc-port", type=whole, metavar="PORT", help="gRPC too, as on 8500; needs isplit-tf[grpc]")


def run_serve(args: argparse.Namespace) -> None:
    """Run `isplit serve`: serve a bundle's tail until interrupted."""
    from ..server import Server

    with Server(args.bundle, host=args.host, port=args.port, grpc_port=args.grpc_port) as server:
        bundle = args.bundle if (Path(args.bundle) / "manifest.json").is_file() else "BUNDLE"
        say(f"next: isplit predict {bundle} IMAGE --url {server.url}")
        server.serve_forever()


def define_predict(commands: Any) -> None:
    """Add `isplit predict` to the commands."""
    parser = add_command(
        commands,
        "predict",
        run_predict,
        "classify images with a bundle, through a server or in this process",
        "isplit predict bundle/ photo.png --url http://127.0.0.1:8501",
    )
    parser.add_argument("bundle", help="what isplit export wrote")
    parser.add_argument("images", nargs="+", help=".png, .jpg, .bmp, .gif or .npy or .npz files of 8-bit images")
    parser.add_argument("--url", help="a server's address, http:// or grpc://; without it both halves run here")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="seconds for an answer (default: 10)")
    parser.add_argument("--payload-bytes", type=whole, metavar="N", help="the most bytes of each coded payload")


def run_predict(args: argparse.Namespace) -> Result:
    """Run `isplit predict`: classify image files with a bundle."""
    from isplit_edge import Client

    from ..export.bundle import Bundle

    rows = []
    with contextlib.ExitStack() as stack:
        predictor: Any = Bundle.load(args.bundle)
        if args.url:
            options = {"timeout_s": args.timeout, "payload_bytes": args.payload_bytes}
            predictor = stack.enter_context(Client(args.bundle, args.url, **options))
        elif args.payload_bytes is not None:
            predictor = predictor.at(args.payload_bytes)
        manifest = predictor.manifest
        names = manifest.class_names or [str(index) for index in range(manifest.n_classes)]
        for path in args.images:
            for row in predictor.predict(read_image(Path(path), manifest)):
                best = int(row.argmax())
                record = {"image": path, "class": names[best], "probability": float(row[best])}
                if manifest.multi_label:
                    record["labels"] = {name: float(p) for name, p in zip(names, row, strict=True) if p > 0.5}
                rows.append(record)
    return Result("\n".join(printable(_answer_line(row)) for row in rows), rows)


def _answer_line(record: dict[str, Any]) -> str:
    """Return the answer for an image as a line: its class, or all of its labels."""
    found = record.get("labels", {record["class"]: record["probability"]})
    listed = ", ".join(f"{name} ({p:.1%})" for name, p in found.items())
    return f"{record['image']}: {listed or 'no label'}"
