"""The measures by name, each with what it compares, its goal, and the function that measures."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import choosing, coding, maps, memory, parts, passes, processors, serving, starting, steps

Found = dict[str, Any]


@dataclass(frozen=True)
class Measure:
    """One line of the table.

    Attributes:
        what: What is measured.
        against: What it is compared with in the same run.
        goal: The goal in words.
        run: Measures; returns `reached`, figures by name, and `ok`, whether each figure reaches the goal.
        why: If the goal is not reached, where the time or memory is spent.
    """

    what: str
    against: str
    goal: str
    run: Callable[[Any], Found]
    why: str = ""


MEASURES = {
    "main_cuts": Measure(
        "importance of the main cuts, time per image, float32",
        "a bare forward and backward pass to the input, same batch",
        "at most 1.05",
        lambda _: passes.against_bare("main", dict.fromkeys(passes.MODELS, 1.05)),
        "a network of depthwise convolutions computes little for each element that lies at its cuts, so that reading "
        "these once more is a good part of the pass by itself; the next profile gives reading and arithmetic as shares",
    ),
    "all_cuts": Measure(
        "importance of all cuts",
        "the same",
        "at most 1.10 on VGG16, 1.25 on the others",
        lambda _: passes.against_bare("all", {name: 1.10 if name == "VGG16" else 1.25 for name in passes.MODELS}),
        "as for the main cuts, with several times as many elements to read",
    ),
    "cut_parts": Measure(
        "where that time goes: every element at the cuts and its gradient read once; Grad-CAM's arithmetic alone",
        "the same bare pass",
        "nothing: a profile",
        lambda _: parts.cut_parts(),
    ),
    "bfloat16": Measure(
        "importance in bfloat16",
        "float32",
        "2.5 times faster, rank correlation of the curves at least 0.99",
        lambda _: passes.bfloat16(2.5, 0.99),
        "oneDNN has bfloat16 kernels for convolutions and matrix products, and the gain stays where they are the work; "
        "see the profile by kind of layer",
    ),
    "bfloat16_parts": Measure(
        "where that time goes: every layer alone, forward and back, in bfloat16",
        "the same in float32",
        "nothing: a profile",
        lambda _: parts.bfloat16_parts(),
    ),
    "tf_keras_vis": Measure(
        "importance of the main cuts, time per image",
        "tf-keras-vis Grad-CAM, one call per layer, on VGG16",
        "15 times faster",
        lambda _: passes.tf_keras_vis(15.0),
    ),
    "memory": Measure(
        "memory that importance adds",
        "that of the bare pass; all cuts: one training step",
        "main cuts 1.3, all cuts below one training step; flat in the number of images",
        lambda _: memory.added(1.3),
        "Grad-CAM needs the tensor at a cut when its gradient arrives, so it lives until then; a bare pass to the "
        "input lets go of it, since that gradient of a convolution or a normalization needs their weights alone. The "
        "profile of the cuts gives their size",
    ),
    "settled": Measure(
        "images until settled (`confidence=0.95`)",
        "the whole validation set",
        "64 or a fiftieth, whichever is more; the same best cut and peaks in 95 % of 200 orders",
        choosing.settled,
    ),
    "first_curve": Measure(
        "first curve of a model, 64 images, tracing included",
        "`model.predict`'s first call on the same images",
        "at most 3 times",
        lambda _: starting.first_curve(3.0),
        "tracing the forward and the backward pass, operation by operation, where `predict` traces the forward pass "
        "alone; see the profile",
    ),
    "first_parts": Measure(
        "where that time goes",
        "the whole first curve",
        "nothing: a profile",
        lambda _: parts.first_parts(),
    ),
    "fine_tune_step": Measure(
        "`train`, phase 2, time per step",
        "Keras `fit` on the same network",
        "at most 1.03",
        lambda _: steps.fine_tune(1.03),
    ),
    "cached_features": Measure(
        "`train`, phase 1, 5 epochs at VGG16's block4_pool",
        "running the frozen head in every epoch",
        "3 times faster",
        lambda _: steps.cached(3.0),
    ),
    "projections": Measure(
        "fitting a projection at every main cut, from 2,000 images, tracing included",
        "an epoch of training the network, 5,000 images",
        "less than the epoch",
        lambda _: steps.projections(1.0),
    ),
    "accuracy_map": Measure(
        "accuracy at four rates and all main cuts, 224 pixels, in a race; the fit from as many images",
        "`model.predict` on the same images, warm",
        "at most 8 times, the fit at most 4 times",
        lambda _: maps.accuracy_map(8.0, 4.0),
        "cuts that are close to each other have to see many images, which pass the layers behind each of them; the "
        "fit takes a forward and a backward pass and the products of patches at every cut",
    ),
    "input_waiting": Measure(
        "share of the time that `measure_importance` waits for images",
        "its whole time, images decoded from PNG files",
        "at most 5 %",
        lambda _: steps.waiting(0.05),
        "decoding runs on the same cores as the model, which leaves none idle; the second figure compares with one "
        "after the other",
    ),
    "client": Measure(
        "client, overhead per frame besides interpreter and wire",
        "the bare interpreter",
        "at most 0.3 ms",
        lambda _: serving.client_overhead(0.3),
    ),
    "tail": Measure(
        "tail, requests of 32 payloads in a batch on the server",
        "`model.predict` on the tail",
        "within 10 %",
        lambda _: serving.tail_throughput(0.9),
    ),
    "coding": Measure(
        "coded latents of 12,000 symbols, MobileNetV2 cut midway: decoding in the tail's graph, encoding in numpy",
        "the rest of the tail, alone and in a batch of 32; the int8 head on one thread",
        "at most half, alone; a quarter, in a batch; a tenth",
        lambda _: coding.coding(0.5, 0.25, 0.1),
        "a step of the decoder's loop starts some forty small operators, each of which costs more than its arithmetic "
        "when a single payload is decoded",
    ),
    "import": Measure(
        "`import isplit_tf`; `isplit --help`",
        "nothing: seconds",
        "0.1 s; 0.3 s",
        lambda _: starting.imports(0.1, 0.3),
    ),
    "choice": Measure(
        "whole choice of a cut, start-up and tracing included",
        "retraining at every cut, Tiny-ImageNet at the scale `cpu`",
        "500 times cheaper",
        lambda args: choosing.against_retraining(args, 500.0),
        "retraining a cut takes only minutes at this scale, beside which importing TensorFlow and Keras and opening "
        "the model count: their share stands with the figure; the rest is tracing and the pass until it is settled",
    ),
    "onednn": Measure(
        "TensorFlow with oneDNN on, where it leaves it off: a forward and backward pass on a processor with AVX2 "
        "alone, and with AVX-512 without instructions for neural networks",
        "the same with oneDNN off",
        "not slower: the commands of isplit then switch it on",
        lambda _: processors.onednn(1.0),
    ),
    "growth": Measure(
        "time and memory against images, classes and cuts",
        "the smallest of each",
        "time linear in images; no more for a class than the network itself",
        lambda _: memory.growth(),
    ),
}
