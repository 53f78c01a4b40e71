"""The products of a gradient of few rows, several in one launch each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from m2t_fast.ops.cuda.launch import run

FEW_ROWS = 64
"""Up to this number of rows an op's products run in its own launches, which read a weight once per eight rows; for
more, torch's products win. Chosen by counting the bytes and multiplications of both, not timed."""


class Rows(NamedTuple):
    """Rows (N, J) of a gradient; with ``tanh`` (N, J), that of tanh(x), from which that of x follows. None is 0."""

    grad: Tensor | None
    tanh: Tensor | None = None


def rows_products(
    op: str, sizes: Mapping[str, int], like: Tensor, jobs: Sequence[tuple[Rows, Tensor, Tensor | None]]
) -> list[Tensor]:
    """rows @ weight (J, K) + add (N, K) of every job (rows, weight, add), each (N, K)."""
    count = len(like)
    made = [weight.new_empty(count, weight.shape[1]) for _, weight, _ in jobs]
    records = [
        dict(rows=_rows(rows, weight.shape[0]), weight=weight, add=add, out=out, columns=weight.shape[1])
        for (rows, weight, add), out in zip(jobs, made, strict=True)
    ]
    run(op, "rows_products", like, sizes, rows=count, jobs=records)
    return made


def outer_products(
    op: str, sizes: Mapping[str, int], like: Tensor, jobs: Sequence[tuple[Rows, int, Tensor]]
) -> list[tuple[Tensor, Tensor]]:
    """rows^T @ x (J, K), and the sums (J,) of the rows, of every job (rows, J, x (N, K))."""
    made = [(x.new_empty(columns, x.shape[1]), x.new_empty(columns)) for _, columns, x in jobs]
    records = [
        dict(rows=_rows(rows, columns), x=x, d_weight=d_weight, d_bias=d_bias, columns=x.shape[1])
        for (rows, columns, x), (d_weight, d_bias) in zip(jobs, made, strict=True)
    ]
    run(op, "outer_products", like, sizes, rows=len(like), jobs=records)
    return made


def _rows(rows: Rows, columns: int) -> dict[str, Any]:
    return dict(d=rows.grad, tanh=rows.tanh, columns=columns)
