"""A point of the rate-accuracy figure with coded payloads: an untrained split, exported and measured as it ships."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from isplit_edge.wire import HEADER_BYTES

from ..bottlenecks.projection import Projection
from ..errors import ArgumentError
from ..export.artefact_accuracy import Weighed
from ..export.bundle import export_bundle
from ..splitting import split
from .jobs import Job
from .originals import Workshop

# Images with which the head is quantized; more hardly change its ranges.
_QUANTIZED = 100
# Payloads whose length is compared with the ideal length of their tables.
_COMPARED = 25


def measure_coded(shop: Workshop, job: Job) -> dict[str, Any]:
    """Measure a split with coded payloads of so many bytes in the mean: an int8 bundle, every image through the wire.

    The projection is fitted from the splits' training images, with some of which the head is quantized too.
    """
    if job.cut is None or job.rate is None:
        raise ArgumentError(f"A coded split has a cut and a rate. Received: {job}")
    cut = shop.cuts[job.cut]
    bottleneck = Projection(payload_bytes=job.rate.latent_bytes, seed=job.seed)
    images = shop.images.train
    halves = split(shop.original_of(job.seed), cut, bottleneck, fit_data=images)
    shape: Any = cut.shape  # no dimension is None
    plan = bottleneck.plan(shape)
    with tempfile.TemporaryDirectory() as folder:
        some = images[0][:_QUANTIZED]
        bundle = export_bundle(halves, Path(folder) / "bundle", representative_data=some, progress=False)
        weighed = Weighed(bundle)
        found = shop.tested(weighed, shop.rated)
        excess = _excess(bundle, shop.images.test[0][shop.rated][:_COMPARED])
    lengths = np.array(weighed.lengths)
    return found | {
        "method": job.rate.method,
        "bits": job.rate.bits,
        "name": cut.name,
        "asked_bytes": job.rate.latent_bytes,
        "payload_bytes": round(float(lengths.mean())),
        "p95_bytes": float(np.quantile(lengths, 0.95)),
        "most_bytes": int(lengths.max()),
        "excess": excess,
        "patch": list(plan.patch),
        "latent_elements": plan.latent_size,
        "encoder_params": plan.encoder_params,
        "encoder_macs": plan.encoder_macs,
        "head_macs": cut.head_macs,
    }


def _excess(bundle: Any, images: np.ndarray) -> dict[str, float]:
    """Compare payloads with the ideal length of their tables, behind the header.

    Returns:
        ideal_bytes and sent_bytes in the mean; most_above, the most bytes of a payload above 1.03 times its ideal.
    """
    code = bundle.manifest.form.code
    ideal, sent = [], []
    for payload in bundle.payloads(images, preprocessed=True):
        body = payload[HEADER_BYTES:]
        channels, latent = code.decode(body)
        ideal.append(float(code.ideal_bits(latent[np.newaxis], channels)[0]) / 8)
        sent.append(len(body))
    above = np.array(sent) - 1.03 * np.array(ideal)
    return {"ideal_bytes": float(np.mean(ideal)), "sent_bytes": float(np.mean(sent)), "most_above": float(above.max())}
