"""The functions that carry out the commands of `isplit`; `cli.main` calls them."""

import argparse
import contextlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from .inputs import (
    first_candidate,
    free_output,
    given_options,
    in_order_of,
    make_bottleneck,
    open_for_training,
    open_images,
    open_model,
    open_predictor,
    read_cut,
    read_image,
    read_preprocessing,
)


@dataclass(frozen=True)
class Result:
    """The result of a command: as text for people, and as JSON values for programs."""

    text: str
    json: Any


def say(text: str) -> None:
    """Write a message for the person at the terminal to standard error."""
    sys.stderr.write(text + "\n")


def run_demo(args: argparse.Namespace) -> Result:
    """Run `isplit demo`: all steps on the embedded glyphs, with a report."""
    from ..demo.run import run_demo

    report = run_demo(Path(args.output), quick=args.quick, seed=args.seed)
    return Result(report.table(), report.to_json())


def run_cuts(args: argparse.Namespace) -> Result:
    """Run `isplit cuts`: list the cuts of a model."""
    from ..display.tables import text_table
    from ..graph.axis import main_cuts
    from ..graph.cuts import list_cuts
    from ..graph.program import read_program
    from ..storage.records import write_record

    output = free_output(args)
    program = read_program(open_model(args.model))
    cuts = main_cuts(program, list_cuts(program)) if args.main else list_cuts(program, max_tensors=args.max_tensors)
    records = [cut.to_json() for cut in cuts]
    write_record(output, "cuts", 1, {"model": program.name, "cuts": records})
    say(f"wrote {output}")
    header = ["cut", "index", "layer", "shape", "bytes", "head params", "tail params", "head MACs", "tail MACs"]
    rows = [
        [
            c.name,
            c.index,
            c.layer_type,
            "x".join(map(str, c.shape)),
            c.size_bytes,
            c.head_params,
            c.tail_params,
            c.head_macs,
            c.tail_macs,
        ]
        for c in cuts
    ]
    return Result(text_table(header, rows), records)


def run_importance(args: argparse.Namespace) -> Result:
    """Run `isplit importance`: measure the importance of every cut."""
    from ..importance.measure import measure_importance
    from ..plots import save_figure

    output = free_output(args)
    model = open_model(args.model)
    data, names = open_images(args.data, args, model.inputs[0].shape[1:], split="validation", shuffle="once")
    curve = measure_importance(
        model,
        data,
        method=args.method,
        reduction=args.reduction,
        target=args.target,
        cuts=args.cuts if args.cuts in ("main", "all") else [read_cut(name) for name in args.cuts.split(",")],
        class_names=names,
        max_images=args.max_images,
        precision=args.precision,
        confidence=args.confidence,
        from_logits=args.from_logits,
    )
    curve.save(output)
    say(f"wrote {output}")
    if args.plot:
        save_figure(curve.plot(log=args.log).figure, Path(args.plot))
        say(f"wrote {args.plot}")
    facts = {name: getattr(curve, name) for name in ("n_images", "method", "precision", "confidence", "settled")}
    return Result(curve.table(), {"model": curve.model_name} | facts | {"cuts": curve.rows()})


def run_accuracy(args: argparse.Namespace) -> Result:
    """Run `isplit accuracy`: predict the accuracy of a split at every cut."""
    from ..plots import save_figure
    from ..selection.prediction import predict_accuracy

    output = free_output(args)
    model = open_model(args.model)
    shape = model.inputs[0].shape[1:]
    data, names = open_images(args.data, args, shape, split="validation", shuffle="once")
    fit_data = open_images(args.fit_data, args, shape, split="train", shuffle="once")[0] if args.fit_data else None
    curve = predict_accuracy(
        model,
        data,
        compression=args.compression,
        payload_bytes=args.payload_bytes,
        cuts=args.cuts if args.cuts in ("main", "all") else [read_cut(name) for name in args.cuts.split(",")],
        fit_data=fit_data,
        weighting=args.weighting,
        fit_images=args.fit_images,
        max_images=args.max_images,
        class_names=names,
        from_logits=args.from_logits,
    )
    curve.save(output)
    say(f"wrote {output}")
    if args.plot:
        save_figure(curve.plot().figure, Path(args.plot))
        say(f"wrote {args.plot}")
    facts = {"model": curve.model_name, "n_images": curve.n_images, "original": curve.original}
    return Result(curve.table(), facts | {"cuts": curve.rows()})


def run_propose(args: argparse.Namespace) -> Result:
    """Run `isplit propose`: rank the candidates for the split."""
    from ..bottlenecks.autoencoder import Autoencoder
    from ..importance.curve import Curve
    from ..selection.accuracy_curve import AccuracyCurve
    from ..selection.candidates import propose

    output = free_output(args)
    candidates = propose(
        Curve.load(args.curve),
        accuracy=AccuracyCurve.load(args.accuracy) if args.accuracy else None,
        rank=args.rank,
        min_accuracy=args.min_accuracy,
        max_payload_bytes=args.max_payload_bytes,
        max_head_macs=args.max_head_macs,
        bottleneck=None if args.compression is None else Autoencoder(compression=args.compression),
        image_bytes=args.image_bytes,
    )
    candidates.save(output)
    say(f"wrote {output}")
    return Result(candidates.table(), json.loads(output.read_text())["candidates"])


def run_split(args: argparse.Namespace) -> Result:
    """Run `isplit split`: split a model, with or without a bottleneck."""
    from ..splitting import split

    output = free_output(args, "split")
    if args.no_bottleneck and (options := given_options(args)):
        raise ArgumentError(f"{options}: of a bottleneck, and --no-bottleneck asks for none. Leave one of them out.")
    bottleneck = None if args.no_bottleneck else make_bottleneck(args)
    cut = read_cut(args.cut) if args.cut is not None else first_candidate(args.candidates)
    halves = split(open_model(args.model), cut, bottleneck)
    halves.save(output, overwrite=args.overwrite)
    say(f"wrote {output}")
    return Result(repr(halves), {"cut": halves.cut.to_json(), "latent_shape": list(halves.latent_shape)})


def run_train(args: argparse.Namespace) -> Result:
    """Run `isplit train`: train a split, or with `--all-candidates` a split at every candidate."""
    from ..splitting import SplitModel
    from ..training import train
    from .train_all import train_candidates, training_arguments

    if args.all_candidates:
        return Result(*train_candidates(args))
    if options := given_options(args):
        raise ArgumentError(f"{options}: '{args.split}' has its bottleneck already. These are for --all-candidates.")
    output = free_output(args, "split")
    halves = SplitModel.load(args.split)
    shape = halves.model.inputs[0].shape[1:]
    data, validation_data = open_for_training(args, shape)
    history = train(
        halves,
        data,
        validation_data=validation_data,
        checkpoint_dir=args.checkpoint_dir,
        tensorboard_dir=args.tensorboard_dir,
        **training_arguments(args),
    )
    halves.save(output, overwrite=args.overwrite)
    history.save(output / "history.json")
    say(f"wrote {output}")
    return Result(history.table(), json.loads((output / "history.json").read_text()))


def run_evaluate(args: argparse.Namespace) -> Result:
    """Run `isplit evaluate`: measure a model, a split or a bundle on labelled images."""
    from ..evaluation.evaluation import evaluate

    output = free_output(args)
    with open_predictor(args) as (predictor, shape, manifest):
        data, names = open_images(args.data, args, shape, split="test", manifest=manifest)
        if manifest is not None and manifest.class_names is not None:
            data = in_order_of(manifest.class_names, data, names, of=f"'{args.predictor}'", spec=args.data)
            names = manifest.class_names
        report = evaluate(predictor, data, class_names=names, from_logits=args.from_logits)
    report.save(output)
    say(f"wrote {output}")
    return Result(report.table(), json.loads(output.read_text()))


def run_export(args: argparse.Namespace) -> Result:
    """Run `isplit export`: write the bundle of a split."""
    from ..export.bundle import export_bundle
    from ..importance.curve import Curve
    from ..splitting import SplitModel

    output = free_output(args, "bundle")
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
        class_names=names,
        preprocessing=read_preprocessing(args.preprocessing),
        precision=args.precision,
        target=args.target,
        flash_bytes=args.flash_bytes,
        ram_bytes=args.ram_bytes,
        curve=Curve.load(args.curve) if args.curve else None,
        ethos_u=args.ethos_u,
        local_fallback=args.local_fallback,
        model_name=args.model_name,
        version=args.model_version,
        overwrite=args.overwrite,
    )
    say(f"wrote {output}")
    return Result(repr(bundle), bundle.manifest.to_dict())


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


def run_serve(args: argparse.Namespace) -> None:
    """Run `isplit serve`: serve a bundle's tail until interrupted."""
    from ..server import Server

    with Server(args.bundle, host=args.host, port=args.port, grpc_port=args.grpc_port) as server:
        server.serve_forever()


def run_predict(args: argparse.Namespace) -> Result:
    """Run `isplit predict`: classify image files with a bundle."""
    from isplit_edge import Client

    from ..export.bundle import Bundle

    rows = []
    with contextlib.ExitStack() as stack:
        predictor: Any = Bundle.load(args.bundle)
        if args.url:
            predictor = stack.enter_context(Client(args.bundle, args.url, timeout_s=args.timeout))
        names = predictor.manifest.class_names
        for path in args.images:
            for row in predictor.predict(read_image(Path(path), predictor.manifest)):
                best = int(row.argmax())
                label = names[best] if names else str(best)
                rows.append({"image": path, "class": label, "probability": float(row[best])})
    text = "\n".join(f"{row['image']}: {row['class']} ({row['probability']:.1%})" for row in rows)
    return Result(text, rows)


def run_reproduce(args: argparse.Namespace) -> Result:
    """Run `isplit reproduce`: run the paper's experiments."""
    from ..experiments.runner import reproduce

    return Result(*reproduce(args))


def run_doctor(args: argparse.Namespace) -> Result:
    """Run `isplit doctor`: print the facts that a bug report needs."""
    from .machine import installation

    facts = installation()
    width = max(map(len, facts))
    return Result("\n".join(f"{name:<{width}}  {value}" for name, value in facts.items()), facts)
