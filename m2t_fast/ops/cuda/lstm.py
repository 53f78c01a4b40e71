"""Launches ``lstm_cells`` and its gradient: few rows in launches of their own, many around torch's products."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from m2t_fast.ops.cuda.few_rows import FEW_ROWS, Rows, outer_products, rows_products
from m2t_fast.ops.cuda.launch import addresses, ready, run

OP = "lstm_cells"


def lstm_cells(
    word: Tensor,
    bottom_hidden: Tensor,
    bottom_cell: Tensor,
    top_hidden: Tensor,
    top_cell: Tensor,
    bottom_input_weight: Tensor,
    bottom_hidden_weight: Tensor,
    bottom_input_bias: Tensor,
    bottom_hidden_bias: Tensor,
    top_input_weight: Tensor,
    top_hidden_weight: Tensor,
    top_input_bias: Tensor,
    top_hidden_bias: Tensor,
    keep: bool,
) -> tuple[Tensor, ...]:
    """The four next states and, if ``keep``, the gates (2, B, 4C) of ``ops.lstm_cells``.

    Up to ``FEW_ROWS`` rows take two launches; the second one, the top LSTM's, multiplies its own state while the first
    runs.
    """
    dtype, batch, units = word.dtype, *bottom_hidden.shape
    word, bottom_hidden, bottom_cell, top_hidden, top_cell = (
        ready(x) for x in (word, bottom_hidden, bottom_cell, top_hidden, top_cell)
    )
    bottom_weights = [
        ready(x) for x in (bottom_input_weight, bottom_hidden_weight, bottom_input_bias, bottom_hidden_bias)
    ]
    top_weights = [ready(x) for x in (top_input_weight, top_hidden_weight, top_input_bias, top_hidden_bias)]
    gates = word.new_empty((2, batch, 4 * units) if keep else 0)
    kept: Sequence[Tensor | None] = list(gates) if keep else [None, None]
    after = [word.new_empty(batch, units) for _ in range(4)]
    bottom = [word, bottom_hidden, bottom_cell, *bottom_weights]
    top = [after[0], top_hidden, top_cell, *top_weights]
    sizes = {"B": batch, "E": word.shape[1], "C": units}
    if batch <= FEW_ROWS:
        run(
            OP,
            "lstm_cells",
            word,
            sizes,
            rows=batch,
            word=word.shape[1],
            units=units,
            bottom=addresses(bottom),
            top=addresses(top),
            bottom_outputs=addresses((*after[:2], kept[0])),
            top_outputs=addresses((*after[2:], kept[1])),
        )
    else:
        for cell, outputs in ((bottom, (*after[:2], kept[0])), (top, (*after[2:], kept[1]))):
            x, hidden, _, input_weight, hidden_weight, *_ = cell
            products = x @ input_weight.T, hidden @ hidden_weight.T
            run(
                OP,
                "lstm_forward",
                word,
                sizes,
                rows=batch,
                units=units,
                input_product=products[0].data_ptr(),
                hidden_product=products[1].data_ptr(),
                inputs=addresses(cell),
                outputs=addresses(outputs),
            )
    return tuple(x.to(dtype) for x in (*after, gates))


def lstm_cells_backward(
    grads: tuple[Tensor | None, ...],
    word: Tensor,
    bottom_hidden: Tensor,
    bottom_cell: Tensor,
    top_hidden: Tensor,
    top_cell: Tensor,
    bottom_input_weight: Tensor,
    bottom_hidden_weight: Tensor,
    bottom_input_bias: Tensor,
    bottom_hidden_bias: Tensor,
    top_input_weight: Tensor,
    top_hidden_weight: Tensor,
    top_input_bias: Tensor,
    top_hidden_bias: Tensor,
    next_bottom_hidden: Tensor,
    next_bottom_cell: Tensor,
    next_top_cell: Tensor,
    gates: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients of the thirteen inputs, from those of the four next states (None: not used) and the gates kept."""
    dtype, batch, units = word.dtype, *bottom_hidden.shape
    sizes = {"B": batch, "E": word.shape[1], "C": units}
    d_bottom_hidden, d_bottom_cell, d_top_hidden, d_top_cell = (x if x is None else ready(x) for x in grads)
    word, bottom_hidden, top_hidden, next_bottom_hidden = (
        ready(x) for x in (word, bottom_hidden, top_hidden, next_bottom_hidden)
    )
    bottom_weights = [ready(bottom_input_weight), ready(bottom_hidden_weight)]
    top_weights = [ready(top_input_weight), ready(top_hidden_weight)]
    bottom_gates, top_gates = ready(gates)
    few = batch <= FEW_ROWS

    def through_cell(d_hidden: Tensor | None, d_cell: Tensor | None, *kept: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the sums under the gates and of the cell before, from gates, cell and next cell."""
        inputs = [ready(x) for x in kept]
        d_sums, d_before = torch.empty_like(inputs[0]), torch.empty_like(inputs[1])
        given, made = addresses((d_hidden, d_cell, *inputs)), addresses((d_sums, d_before))
        run(OP, "lstm_backward", word, sizes, rows=batch, units=units, inputs=given, outputs=made)
        return d_sums, d_before

    def through_products(d_sums: Tensor, weights: list[Tensor], add: Tensor | None) -> list[Tensor]:
        """Gradients of the input, ``add`` included, and of the hidden state before."""
        if few:
            jobs = [(Rows(d_sums), weights[0], add), (Rows(d_sums), weights[1], None)]
            return rows_products(OP, sizes, word, jobs)
        d_input, d_hidden = (d_sums @ weight for weight in weights)
        return [d_input if add is None else d_input + add, d_hidden]

    d_top_sums, d_top_before = through_cell(d_top_hidden, d_top_cell, top_gates, top_cell, next_top_cell)
    through, d_top_state = through_products(d_top_sums, top_weights, d_bottom_hidden)
    d_sums, d_bottom_before = through_cell(through, d_bottom_cell, bottom_gates, bottom_cell, next_bottom_cell)
    d_word, d_bottom_state = through_products(d_sums, bottom_weights, None)

    met = [(d_sums, word), (d_sums, bottom_hidden), (d_top_sums, next_bottom_hidden), (d_top_sums, top_hidden)]
    if few:
        layers = outer_products(OP, sizes, word, [(Rows(d), 4 * units, x) for d, x in met])
    else:
        layers = [(d.T @ x, d.sum(0)) for d, x in met]
    weights = [x for a, b in (layers[:2], layers[2:]) for x in (a[0], b[0], a[1], b[1])]
    outputs = (d_word, d_bottom_state, d_bottom_before, d_top_state, d_top_before, *weights)
    return tuple(x.to(dtype) for x in outputs)
