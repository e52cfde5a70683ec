"""The options of every command of `isplit`."""

import argparse
from typing import Any

_DATA = "a folder of class folders, an .npz with x and y, an archive, tfds:NAME[:SPLIT], or glyphs[:SPLIT]"


def define_commands(commands: Any) -> None:
    """Add the commands to the parser of `isplit`, each with its options and an example."""
    for define in (
        _demo,
        _cuts,
        _importance,
        _accuracy,
        _propose,
        _split,
        _train,
        _evaluate,
        _export,
        _publish,
        _serve,
        _predict,
        _reproduce,
        _doctor,
    ):
        define(commands)


def _add(commands: Any, name: str, text: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="result as JSON on standard output")
    return parser


def _add_output(parser: argparse.ArgumentParser, default: str, what: str) -> None:
    parser.add_argument("-o", "--output", default=default, metavar="PATH", help=f"{what} (default: {default})")
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")


def _add_data(parser: argparse.ArgumentParser, *, name: str = "--data", required: bool = True, what: str) -> None:
    parser.add_argument(name, required=required, metavar="DATA", help=f"{what}: {_DATA}")


def _add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="images in a batch (default: 32)")
    parser.add_argument(
        "--preprocessing",
        metavar="FORM",
        help="what turns 8-bit images into the model's input: caffe, tf, torch as in Keras, or a .json record",
    )


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="run jobs side by side on Ray: local, or its address",
    )


def _demo(commands: Any) -> None:
    parser = _add(commands, "demo", "run the whole story on the embedded glyphs", "isplit demo --quick")
    parser.add_argument("--quick", action="store_true", help="less training, a minute or two")
    parser.add_argument("-o", "--output", default="demo", metavar="DIR", help="where to (default: demo)")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default: 0)")


def _cuts(commands: Any) -> None:
    parser = _add(commands, "cuts", "list every place where a model can be split", "isplit cuts classifier.keras")
    parser.add_argument("model", help="a .keras file")
    parser.add_argument("--main", action="store_true", help="only those on the importance curve")
    parser.add_argument("--max-tensors", type=int, default=1, metavar="N", help="tensors that may cross (default: 1)")
    _add_output(parser, "cuts.json", "the list")


def _importance(commands: Any) -> None:
    parser = _add(
        commands,
        "importance",
        "measure the importance (CUI) of every cut",
        "isplit importance classifier.keras --data validation/ --plot curve.png",
    )
    parser.add_argument("model", help="a .keras file")
    _add_data(parser, what="labelled validation images")
    parser.add_argument("--method", default="grad_cam", help="gradients, hires_cam and others (default: grad_cam)")
    parser.add_argument("--reduction", default="mean", help="mean or sum (default: mean)")
    parser.add_argument("--target", default="label", help="label or predicted (default: label)")
    parser.add_argument("--cuts", default="main", help="main, all, or names with commas between (default: main)")
    parser.add_argument("--precision", default="float32", help="float32, bfloat16 or float16 (default: float32)")
    parser.add_argument("--max-images", type=int, metavar="N", help="stop after N images")
    parser.add_argument(
        "--confidence", type=float, metavar="X", help="stop once best cut and peaks are as sure as X, such as 0.95"
    )
    parser.add_argument("--from-logits", action="store_true", default=None, help="linear outputs are logits")
    parser.add_argument("--plot", metavar="FILE", help="draw the curve as .png or .svg")
    parser.add_argument("--log", action="store_true", help="plot log10")
    _add_input(parser)
    _add_output(parser, "curve.npz", "the curve")


def _accuracy(commands: Any) -> None:
    parser = _add(
        commands,
        "accuracy",
        "predict the accuracy that a split keeps at every cut, without training",
        "isplit accuracy classifier.keras --data validation/ --fit-data train/ --payload-bytes 200 --plot accuracy.png",
    )
    parser.add_argument("model", help="a .keras file")
    _add_data(parser, what="labelled images to classify")
    _add_data(parser, name="--fit-data", required=False, what="images to fit the projections from (default: --data)")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--compression", type=float, help="share of the elements left out (default: 0.9)")
    amount.add_argument("--payload-bytes", type=int, metavar="N", help="bytes a frame that may cross at each cut")
    parser.add_argument("--cuts", default="main", help="main, all, or names or indices separated by commas")
    parser.add_argument("--weighting", default="task", choices=["task", "features"])
    parser.add_argument("--fit-images", type=int, default=2000, metavar="N", help="images of the fit (default: 2000)")
    parser.add_argument("--max-images", type=int, metavar="N", help="stop after N images")
    parser.add_argument("--from-logits", action="store_true", default=None, help="linear outputs are logits")
    parser.add_argument("--plot", metavar="FILE", help="draw the curve as .png, .svg or .pdf")
    _add_input(parser)
    _add_output(parser, "accuracy.npz", "the predicted accuracy")


def _propose(commands: Any) -> None:
    parser = _add(commands, "propose", "rank the cuts of a curve and say what each costs", "isplit propose curve.npz")
    parser.add_argument("curve", help="what isplit importance wrote")
    parser.add_argument("--accuracy", metavar="FILE", help="what isplit accuracy wrote")
    parser.add_argument("--rank", default="importance", choices=["importance", "accuracy"])
    parser.add_argument("--min-accuracy", type=float, metavar="X", help="leave out cuts predicted to keep less")
    parser.add_argument("--max-payload-bytes", type=int, metavar="N", help="leave out cuts that send more a frame")
    parser.add_argument("--max-head-macs", type=int, metavar="N", help="leave out cuts whose head computes more")
    parser.add_argument("--compression", type=float, help="of an autoencoder, for the costs (default: 0.9)")
    parser.add_argument("--image-bytes", type=int, metavar="N", help="bytes of a compressed image, to compare with")
    _add_output(parser, "candidates.json", "the candidates")


def _split(commands: Any) -> None:
    parser = _add(
        commands,
        "split",
        "split a model, with a bottleneck between the halves",
        "isplit split classifier.keras --candidates candidates.json --compression 0.9",
    )
    parser.add_argument("model", help="a .keras file")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--cut", help="name or index of the cut")
    where.add_argument("--candidates", metavar="FILE", help="take the first candidate of isplit propose")
    _add_bottleneck(parser)
    parser.add_argument("--no-bottleneck", action="store_true", help="send the tensor as it is")
    parser.add_argument("--seed", type=int, help="of the bottleneck's first weights")
    _add_output(parser, "split", "the split model's folder")


def _add_bottleneck(parser: Any) -> None:
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--compression", type=float, help="of the bottleneck (default: 0.9)")
    amount.add_argument("--latent-size", type=int, metavar="N", help="elements that are sent, in its place")
    amount.add_argument("--payload-bytes", type=int, metavar="N", help="or bytes a frame, header included")
    parser.add_argument(
        "--bottleneck",
        default="autoencoder",
        choices=["autoencoder", "projection"],
        help="to be trained, or to be fitted in closed form (default: autoencoder)",
    )
    parser.add_argument("--filters", type=int, help="hidden width of the autoencoder (default: bounded by its size)")
    parser.add_argument("--init", choices=["random", "projection"], help="how the autoencoder starts (default: random)")
    parser.add_argument(
        "--latent-bits", type=int, choices=[8, 4, 2], help="bits of each element that are sent, learned in training"
    )


def _train(commands: Any) -> None:
    parser = _add(
        commands,
        "train",
        "fit or train the bottleneck, then all of it end to end",
        "isplit train split/ --data train/ --validation-data validation/ -o trained/ --checkpoint-dir checkpoints/",
    )
    parser.add_argument("split", help="what isplit split wrote; with --all-candidates, what isplit propose wrote")
    parser.add_argument(
        "--all-candidates", action="store_true", help="split --model at every candidate and train each, into one folder"
    )
    parser.add_argument("--model", metavar="FILE", help="the .keras file, for --all-candidates")
    _add_bottleneck(parser.add_argument_group("bottleneck, for --all-candidates"))
    _add_cluster(parser)
    _add_data(parser, what="labelled training images")
    _add_data(parser, name="--validation-data", required=False, what="labelled images to watch")
    parser.add_argument("--bottleneck-epochs", type=int, metavar="N", help="passes over the data in phase 1")
    parser.add_argument("--fine-tune-epochs", type=int, metavar="N", help="passes in phase 2")
    parser.add_argument("--learning-rate", type=float, metavar="X", help="of Adam in phase 2")
    parser.add_argument("--loss", help="a Keras loss by name, squared_error (Eq. 4), or distill")
    parser.add_argument("--keep-best", action="store_true", help="end with the best weights by --validation-data")
    parser.add_argument("--checkpoint-dir", metavar="DIR", help="go on from here after an interruption")
    parser.add_argument("--tensorboard-dir", metavar="DIR", help="write the metrics of both phases for TensorBoard")
    parser.add_argument("--seed", type=int, help="of the data's order, and of new bottlenecks")
    _add_input(parser)
    _add_output(parser, "trained", "the trained split model's folder")


def _evaluate(commands: Any) -> None:
    parser = _add(
        commands,
        "evaluate",
        "measure a model, a split, a bundle, or a bundle with its server",
        "isplit evaluate bundle/ --data test/ --url http://server:8501",
    )
    parser.add_argument("predictor", help="a .keras file, a split's folder, or a bundle")
    _add_data(parser, what="labelled test images")
    parser.add_argument("--url", help="a server's address, http:// or grpc://: the bundle's head here, its tail there")
    parser.add_argument("--from-logits", action="store_true", default=None, help="linear outputs are logits")
    _add_input(parser)
    _add_output(parser, "report.json", "the report")


def _export(commands: Any) -> None:
    parser = _add(
        commands,
        "export",
        "write the bundle: head for the device, tail for TensorFlow Serving",
        "isplit export trained/ --representative-data train/ --evaluation-data test/ -o bundle/",
    )
    parser.add_argument("split", help="what isplit split or isplit train wrote")
    _add_data(parser, name="--representative-data", required=False, what="images that set the int8 ranges")
    _add_data(parser, name="--evaluation-data", required=False, what="labelled images for the manifest's accuracy")
    parser.add_argument("--original", metavar="MODEL", help="the .keras file that was split, for its accuracy")
    parser.add_argument("--precision", default="int8", help="int8, int16x8, float16, dynamic, float32 (default: int8)")
    parser.add_argument("--target", choices=["microcontroller"], help="also write the head as C, and measure its arena")
    parser.add_argument("--flash-bytes", type=int, metavar="N", help="refuse a head whose array is larger")
    parser.add_argument("--ram-bytes", type=int, metavar="N", help="refuse a head that needs more for its arena")
    parser.add_argument("--curve", metavar="FILE", help="what isplit importance wrote, to name the best cut that fits")
    parser.add_argument("--ethos-u", metavar="NPU", help="estimate for an Ethos-U, such as ethos-u55-128")
    parser.add_argument(
        "--local-fallback", action="store_true", help="the whole model too, for a device that finds no server"
    )
    parser.add_argument("--model-name", default="tail", help="on the server (default: tail)")
    parser.add_argument("--model-version", type=int, default=1, metavar="N", help="on the server (default: 1)")
    _add_input(parser)
    _add_output(parser, "bundle", "the bundle's folder")


def _publish(commands: Any) -> None:
    parser = _add(
        commands,
        "publish",
        "add a bundle's tail to a server's folder, beside the versions that are there",
        "isplit publish bundle/ models/ --label stable",
    )
    parser.add_argument("bundle", help="what isplit export wrote")
    parser.add_argument("models_dir", help="the folder that TensorFlow Serving mounts at /models")
    parser.add_argument(
        "--label", action="append", default=[], metavar="NAME", help="let a label such as stable stand for this version"
    )


def _serve(commands: Any) -> None:
    parser = _add(
        commands, "serve", "serve a bundle's tail here, for trying things out", "isplit serve bundle/ --port 8501"
    )
    parser.add_argument("bundle", help="what isplit export wrote, or the folder of isplit publish")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8501, help="of REST; 0 for a free one (default: 8501)")
    parser.add_argument("--grpc-port", type=int, metavar="PORT", help="gRPC too, as on 8500; needs isplit-tf[grpc]")


def _predict(commands: Any) -> None:
    parser = _add(
        commands,
        "predict",
        "classify images with a bundle, through a server or in this process",
        "isplit predict bundle/ photo.png --url http://127.0.0.1:8501",
    )
    parser.add_argument("bundle", help="what isplit export wrote")
    parser.add_argument("images", nargs="+", help=".png, .jpg, .bmp, .gif or .npy or .npz files of 8-bit images")
    parser.add_argument("--url", help="a server's address, http:// or grpc://; without it both halves run here")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="seconds for an answer (default: 10)")


def _reproduce(commands: Any) -> None:
    parser = _add(
        commands,
        "reproduce",
        "run the paper's experiments; a run that ended early goes on",
        "isplit reproduce fig3 --scale smoke",
    )
    parser.add_argument("experiment", help="fig3 to fig8, correlation, cost, projection, rate_accuracy, or all")
    parser.add_argument("--scale", default="smoke", help="smoke, cpu or paper (default: smoke)")
    parser.add_argument("--study", metavar="NAME", help="only this one of the studies that the experiment reads")
    parser.add_argument("--results", default="results", metavar="DIR", help="rows, JSON, pictures (default: results)")
    parser.add_argument("--work", metavar="DIR", help="trained originals (default: RESULTS/work)")
    parser.add_argument(
        "--archives", metavar="DIR", help="a folder with the data sets' archives, instead of loading them"
    )
    parser.add_argument(
        "--weights", metavar="FILE", help="ImageNet weights of VGG16 without its top, instead of loading"
    )
    parser.add_argument("--data-dir", metavar="DIR", help="where TensorFlow Datasets keeps its data")
    _add_cluster(parser)
    parser.add_argument("--max-minutes", type=float, metavar="N", help="begin no further job after so long")
    parser.add_argument("--report-only", action="store_true", help="run nothing; write what the rows say")
    parser.add_argument("--page", metavar="FILE", help="also write it all as a Markdown page")


def _doctor(commands: Any) -> None:
    _add(commands, "doctor", "print what a bug report needs", "isplit doctor --json")
