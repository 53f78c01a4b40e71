"""Rows of the smoke for training: captured steps against plain PyTorch's, and cuDNN's LSTM against float64."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from gpu_smoke_groups import Row

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}


def training_rows(device: str) -> Iterator[Row]:
    """Losses of a first and of a captured step, in every scoring mode and dtype."""
    for dtype in (torch.float32, torch.bfloat16):
        for scoring in ("part", "frame"):
            title = f"captured step {scoring} {str(dtype).removeprefix('torch.')}"
            yield Row(title, lambda dtype=dtype, scoring=scoring: _step(dtype, scoring, device))
        if device == "cpu":
            break
    yield Row("lstm float32", lambda: _lstm(device))
    yield Row("validation", lambda: _validation(device))


def _step(dtype: torch.dtype, scoring: str, device: str) -> tuple[float, float]:
    from m2t_fast.benchmarking.case import PLAIN
    from m2t_fast.benchmarking.epochs import OURS, Epoch, step_of

    epoch = Epoch("tiny", torch.device(device), scoring, dtype)
    bucket, _ = next(found for found in epoch.counts.most_common() if found[0] in epoch.batches)
    samples = epoch.batches[bucket].to(device)
    ours, plain = (step_of(way, epoch.size, epoch.split, scoring, dtype) for way in (OURS, PLAIN))
    shapes = [epoch.shape(way, bucket, samples.cpu()) for way in (OURS, PLAIN)]
    errors = []
    for _ in range(2):  # the second step has other random numbers; on a GPU ours is then the captured one
        found, expected = ours(samples, shapes[0]), plain(samples, shapes[1])
        errors.append(float(((found - expected).abs() / expected.abs().clamp(min=1e-6)).max()))
    return worse(errors), TOLERANCE[dtype]


def worse(errors: list[float]) -> float:
    """The largest; infinite where one is NaN."""
    return max(error if error == error else float("inf") for error in errors)


def _lstm(device: str) -> tuple[float, float]:
    from m2t_fast.modules import LSTM

    torch.manual_seed(0)
    layer, x = LSTM(64, 64).to(device), torch.randn(8, 9, 64, device=device)
    found = layer(x, None)[0]
    exact = layer.double()(x.double(), None)[0]
    return float((found.double() - exact).norm() / exact.norm()), 1e-5


def _validation(device: str) -> tuple[float, float]:
    """A validation beside training comes to its end; it needs nltk."""
    from m2t_fast.benchmarking.epochs import Epoch

    seconds = Epoch("tiny", torch.device(device)).measure_validation()
    return (0.0 if seconds > 0 else float("inf")), 0.0
