"""torch's own LSTM over given weights: many words in one call, or one word."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._higher_order_ops.scan import scan

from m2t_fast.ops import cudnn_lstm
from m2t_fast.ops.checks import autocast_dtype, transformed
from m2t_fast.ops.registration import assume_constant_result
from m2t_fast.reference.lstm import activated, lstm_cell, next_state


def lstm_step(
    x: Tensor, state: tuple[Tensor, Tensor], weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """:func:`lstm` of one word, x (B, 1, I): cuDNN would pack the weights again for each."""
    hidden, cell = torch._VF.lstm_cell(  # type: ignore[attr-defined]
        x[:, 0], list(state), weight_ih, weight_hh, bias_ih, bias_hh
    )
    return hidden[:, None], (hidden, cell)


def lstm(
    x: Tensor,
    state: tuple[Tensor, Tensor] | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Outputs (B, L, C) and the last (hidden, cell), each (B, C), over x (B, L, I); ``state`` None starts at zero.

    ``weight_ih`` (4C, I), ``weight_hh`` (4C, C), biases (4C,), gates in torch's order i, f, g, o.
    """
    if state is None:
        zeros = x.new_zeros(x.shape[0], weight_hh.shape[1])
        state = zeros, zeros
    if _exporting():
        return _exported(x, state, weight_ih, weight_hh, bias_ih, bias_hh)
    if transformed():
        return _by_words(x, state, weight_ih, weight_hh, bias_ih, bias_hh)
    if x.device.type == "cpu" and autocast_dtype(x) == torch.float16 and x.dtype != torch.float64:
        # torch's own kernel for autocast has no gradient in float16; its others have.
        x, hidden, cell, *half = (y.half() for y in (x, *state, weight_ih, weight_hh, bias_ih, bias_hh))
        with torch.autocast("cpu", enabled=False):
            return lstm(x, (hidden, cell), *half)
    if x.shape[1] == 1 and x.device.type != "cpu":
        return lstm_step(x, state, weight_ih, weight_hh, bias_ih, bias_hh)
    hidden, cell = state[0][None].contiguous(), state[1][None].contiguous()
    weights: list[Tensor] = [weight_ih, weight_hh, bias_ih, bias_hh]
    if cudnn_lstm.takes(x):
        output, hidden, cell = cudnn_lstm.cudnn_lstm(x.transpose(0, 1), hidden, cell, *weights)
        return output.transpose(0, 1), (hidden[0], cell[0])
    # Other paths to cuDNN want to be told when a gradient will follow.
    training = torch.is_grad_enabled()
    output, hidden, cell = torch._VF.lstm(  # type: ignore[attr-defined]
        x.contiguous(), (hidden, cell), weights, True, 1, 0.0, training, False, True
    )
    return output, (hidden[0], cell[0])


@assume_constant_result
def _exporting() -> bool:
    """Asked while tracing, not traced: torch 2.11 tells compiled code that it is being exported."""
    return torch.compiler.is_exporting()


def _by_words(
    x: Tensor, state: tuple[Tensor, Tensor], weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """:func:`lstm` under torch.func, whose vmap and forward mode do not know torch's own."""
    outputs = []
    for word in x.unbind(1):
        state = lstm_cell(word, state, weight_ih, weight_hh, bias_ih, bias_hh)
        outputs.append(state[0])
    return torch.stack(outputs, 1), state


def _exported(
    x: Tensor, state: tuple[Tensor, Tensor], weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """:func:`lstm` for torch.export, which unrolls torch's own to the number of words of its example."""
    batch, words, size = x.shape[0], x.shape[1], weight_hh.shape[1]
    inputs = torch.nn.functional.linear(x, weight_ih, bias_ih + bias_hh).transpose(0, 1)

    def step(carried: tuple[Tensor, Tensor], word: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        hidden, cell = next_state(activated(word + carried[0] @ weight_hh.T), carried[1])
        # With the batch named here, inductor knows it when it lowers the loop.
        return (hidden, cell), hidden.reshape(batch, size).clone()

    if isinstance(words, int) and words == 1:
        after, output = step(state, inputs[0])
        return output[:, None], after
    (hidden, cell), outputs = scan(step, (state[0].clone(), state[1].clone()), inputs)
    return outputs.transpose(0, 1).clone(memory_format=torch.contiguous_format), (hidden, cell)
