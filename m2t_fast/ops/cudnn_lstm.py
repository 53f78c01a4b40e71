"""The op ``cudnn_lstm``: cuDNN's LSTM, as exact in float32 as products are asked to be.

cuDNN allows TF32 by default, and both passes read that setting when they run. A registered op can set it
around both, also in a compiled graph or while a CUDA graph is captured. Under autocast torch's own LSTM computes in
float16, whose gradients underflow: this one stays in float32, where TF32 is then allowed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.registration import register

_LSTM_MODE = 2  # cuDNN's number of the LSTM among its recurrent layers


def takes(x: Tensor) -> bool:
    """Whether this op runs an LSTM over ``x``: float32 or float64 on a device that cuDNN supports."""
    there = x.is_cuda and torch.version.hip is None and x.numel() > 0
    return there and x.dtype in (torch.float32, torch.float64) and torch.backends.cudnn.is_acceptable(x)


@contextlib.contextmanager
def precision(loose: bool) -> Iterator[None]:
    """Inside the block cuDNN's recurrent layers use TF32 only if ``torch.set_float32_matmul_precision`` allows it.

    ``loose``: as torch is set, which by default allows it.

    torch's older switch, ``torch.backends.cudnn.allow_tf32``, is turned with it: where the two contradict each
    other, any read of the older one raises.
    """
    cudnn: Any = torch.backends.cudnn
    rnn = cudnn.rnn
    before = rnn.fp32_precision
    if loose or before == "ieee" or torch.backends.cuda.matmul.fp32_precision == "tf32":
        yield
        return
    convolutions, switch = cudnn.conv.fp32_precision, False
    with contextlib.suppress(RuntimeError):  # a caller may have set them against one another
        switch = cudnn.allow_tf32
    if switch:
        cudnn.allow_tf32 = False
    rnn.fp32_precision = "ieee"
    try:
        yield
    finally:
        if switch:
            cudnn.allow_tf32 = True
            cudnn.conv.fp32_precision = convolutions
        rnn.fp32_precision = before


def cudnn_lstm(
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs (L, B, C) and the last hidden and cell state (1, B, C) over x (L, B, I), differentiable in all inputs.

    Args:
        x: time first. hidden, cell: (1, B, C).
        weight_ih: (4C, I); weight_hh: (4C, C); bias_ih, bias_hh: (4C,): gates in torch's order i, f, g, o.
    """
    loose = torch.is_autocast_enabled("cuda")
    tensors = [t.to(x.dtype).contiguous() for t in (x, hidden, cell, weight_ih, weight_hh, bias_ih, bias_hh)]
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    output, last_hidden, last_cell, _, _ = torch.ops.m2t_fast.cudnn_lstm(*tensors, keep, loose)
    return output, last_hidden, last_cell


def _forward(
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    keep: bool,
    loose: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The outputs, and what cuDNN keeps for its gradient: its reserve, and the weights in one piece."""
    weights = [weight_ih, weight_hh, bias_ih, bias_hh]
    flat = _flat(weights)
    with precision(loose), torch.autocast("cuda", enabled=False):
        output, last_hidden, last_cell, reserve, _ = torch.ops.aten._cudnn_rnn(
            x, weights, len(weights), flat, hidden, cell, *_layer(weight_hh.shape[1], keep), None
        )
    return output, last_hidden, last_cell, reserve, flat


def _flat(weights: list[Tensor]) -> Tensor:
    """The weights in one piece, as cuDNN reads them. Otherwise it packs them itself, with a warning each time."""
    inputs, hidden_size = weights[0].shape[1], weights[1].shape[1]
    # The function makes what it is given views of its result: not the weights, nor what counts as a change of them.
    given = [weight.data for weight in weights]
    return torch._cudnn_rnn_flatten_weight(given, 4, inputs, _LSTM_MODE, hidden_size, 0, 1, False, False)


def _layer(hidden_size: int, training: bool) -> tuple[int, int, int, int, bool, float, bool, bool, list[int]]:
    """Mode, hidden and projection size, layers, batch first, dropout, training, both directions, packed sizes."""
    return _LSTM_MODE, hidden_size, 0, 1, False, 0.0, training, False, []


def _fake(x, hidden, cell, weight_ih, weight_hh, bias_ih, bias_hh, keep, loose):
    output = x.new_empty(*x.shape[:2], weight_hh.shape[1])
    # The last two are as large as cuDNN says; torch's own description of its op gives none of them a size either.
    rest = x.new_empty(0, dtype=torch.uint8), x.new_empty(0)
    return output, torch.empty_like(hidden), torch.empty_like(cell), *rest


def _backward(
    grad_output: Tensor | None,
    grad_hidden: Tensor | None,
    grad_cell: Tensor | None,
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    output: Tensor,
    reserve: Tensor,
    flat: Tensor,
    loose: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    weights = [weight_ih, weight_hh, bias_ih, bias_hh]
    grads = (g if g is None else g.contiguous() for g in (grad_output, grad_hidden, grad_cell))
    with precision(loose), torch.autocast("cuda", enabled=False):
        # cuDNN writes to its reserve, of which a second gradient would have to find the first state: it gets a copy.
        d_x, d_hidden, d_cell, d_weights = torch.ops.aten._cudnn_rnn_backward(
            *(x, weights, len(weights), flat, hidden, cell, output, *grads),
            *(*_layer(weight_hh.shape[1], True), None, reserve.clone(), [True] * 4),
        )
    # What the backward of cuDNN's weights gives may be parts of one buffer, and an op's outputs may not share memory.
    return d_x, d_hidden, d_cell, *(d.clone() for d in d_weights)


def _backward_fake(grad_output, grad_hidden, grad_cell, *rest):
    return tuple(torch.empty_like(t, memory_format=torch.contiguous_format) for t in rest[:7])


def _setup_context(ctx, inputs, output):
    *tensors, _, ctx.loose = inputs
    out, _, _, reserve, flat = output
    ctx.save_for_backward(*tensors, out, reserve, flat)
    ctx.set_materialize_grads(False)


def _autograd_backward(ctx, *grads):
    if all(g is None for g in grads[:3]):
        return (None,) * 9
    return *torch.ops.m2t_fast.cudnn_lstm_backward(*grads[:3], *ctx.saved_tensors, ctx.loose), None, None


register("cudnn_lstm", _forward, _fake, _autograd_backward, _setup_context)
register("cudnn_lstm_backward", _backward, _backward_fake)
