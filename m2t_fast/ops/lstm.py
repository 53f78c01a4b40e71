"""The op ``lstm_cells``, both LSTMs of the decoder by one word: its contract, registration, gradient and dispatch."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.ops.checks import autocast, check_same_float, check_shape
from m2t_fast.ops.registry import chosen_backend, implementation, resolve
from m2t_fast.reference.lstm import LstmState

NAME = "lstm_cells"
_WEIGHTS = ("input_weight", "hidden_weight", "input_bias", "hidden_bias")


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
) -> LstmState:
    """The decoder's LSTM states after a word: the bottom LSTM reads its embedding, the top one the bottom's state.

    For words that come one by one; over words that are known, torch's own LSTM runs layer by layer.

    Args:
        word: (B, E) embedding. bottom_hidden, bottom_cell, top_hidden, top_cell: (B, C) states before.
        bottom_input_weight: (4C, E), gates i, f, g, o as torch's. top_input_weight: (4C, C).
        bottom_hidden_weight, top_hidden_weight: (4C, C). The four biases: (4C,).

    Returns:
        LstmState(bottom_hidden, bottom_cell, top_hidden, top_cell), each (B, C), differentiable in every input.
        Under ``torch.autocast`` in its dtype, whatever the inputs' are.

    Raises:
        ValueError: a shape or device does not fit. TypeError: a dtype does not fit.
    """
    states = dict(bottom_hidden=bottom_hidden, bottom_cell=bottom_cell, top_hidden=top_hidden, top_cell=top_cell)
    bottom = (bottom_input_weight, bottom_hidden_weight, bottom_input_bias, bottom_hidden_bias)
    top = (top_input_weight, top_hidden_weight, top_input_bias, top_hidden_bias)
    sizes: dict[str, int] = {}
    check_shape(NAME, "word", word, ("B", "E"), sizes)
    for name, state in states.items():
        check_shape(NAME, name, state, ("B", "C"), sizes)
    tensors = dict(word=word, **states)
    for layer, columns, weights in (("bottom", "E", bottom), ("top", "C", top)):
        shapes = ((4 * sizes["C"], columns), (4 * sizes["C"], "C"), (4 * sizes["C"],), (4 * sizes["C"],))
        for name, weight, shape in zip(_WEIGHTS, weights, shapes, strict=True):
            check_shape(NAME, f"{layer}_{name}", weight, shape, sizes)
            tensors[f"{layer}_{name}"] = weight
    tensors = dict(zip(tensors, autocast(*tensors.values()), strict=True))
    check_same_float(NAME, **tensors)
    keep = torch.is_grad_enabled() and any(x.requires_grad for x in tensors.values())
    outputs = torch.ops.m2t_fast.lstm_cells(*tensors.values(), keep, chosen_backend())
    return LstmState(*outputs[:4])


def has_kernels(tensor: Tensor) -> bool:
    """Whether the backend that was chosen has this op; else torch's LSTM is what runs fastest."""
    return resolve(NAME, chosen_backend(), tensor.device.type) != "reference"


@torch.library.custom_op("m2t_fast::lstm_cells", mutates_args=())
def _forward(
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
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The four states and the gates (2, B, 4C) of both LSTMs, which are empty unless a gradient will follow."""
    run = implementation(NAME, backend, word)
    return run(
        word,
        bottom_hidden,
        bottom_cell,
        top_hidden,
        top_cell,
        bottom_input_weight,
        bottom_hidden_weight,
        bottom_input_bias,
        bottom_hidden_bias,
        top_input_weight,
        top_hidden_weight,
        top_input_bias,
        top_hidden_bias,
        keep,
    )


@_forward.register_fake
def _(word, bottom_hidden, *rest):
    keep = rest[-2]
    batch, units = bottom_hidden.shape
    states = (word.new_empty(batch, units) for _ in range(4))
    return *states, word.new_empty((2, batch, 4 * units) if keep else 0)


@torch.library.custom_op("m2t_fast::lstm_cells_backward", mutates_args=())
def _backward(
    grad_bottom_hidden: Tensor | None,
    grad_bottom_cell: Tensor | None,
    grad_top_hidden: Tensor | None,
    grad_top_cell: Tensor | None,
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
    backend: str,
) -> tuple[
    Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor
]:  # fmt: skip
    run = implementation(NAME, backend, word, "_backward")
    return run(
        (grad_bottom_hidden, grad_bottom_cell, grad_top_hidden, grad_top_cell),
        word,
        bottom_hidden,
        bottom_cell,
        top_hidden,
        top_cell,
        bottom_input_weight,
        bottom_hidden_weight,
        bottom_input_bias,
        bottom_hidden_bias,
        top_input_weight,
        top_hidden_weight,
        top_input_bias,
        top_hidden_bias,
        next_bottom_hidden,
        next_bottom_cell,
        next_top_cell,
        gates,
    )


@_backward.register_fake
def _(grad_bottom_hidden, grad_bottom_cell, grad_top_hidden, grad_top_cell, *rest):
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in rest[:13])


def _setup_context(ctx, inputs, output):
    *tensors, _, backend = inputs
    bottom_hidden, bottom_cell, _, top_cell, gates = output
    ctx.save_for_backward(*tensors, bottom_hidden, bottom_cell, top_cell, gates)
    ctx.backend = backend
    ctx.set_materialize_grads(False)  # a state nobody used costs its gradient nothing


def _autograd_backward(ctx, *grads):
    result = torch.ops.m2t_fast.lstm_cells_backward(*grads[:4], *ctx.saved_tensors, ctx.backend)
    return *result, None, None


_forward.register_autograd(_autograd_backward, setup_context=_setup_context)
