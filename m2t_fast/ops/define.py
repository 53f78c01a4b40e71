"""How an op is declared: once, as two records; schema, registration, fake, autograd, autocast and checks follow.

An op is the function of ``m2t_fast.reference`` with its name: its record of inputs (tensors, then options) and its
outputs say what is checked, cast, saved and returned. :func:`define` adds what the equations do not say: which tensors
the gradient reads, and which of several outputs training goes through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from torch import Tensor

from m2t_fast.ops.op import Op
from m2t_fast.records import Kind

P = ParamSpec("P")
R = TypeVar("R")


def define(
    reference: Callable[P, R],
    *,
    file: str,
    name: str | None = None,
    differentiable: bool = True,
    autocast: bool = True,
    saves: Sequence[str] = (),
    keeps: Mapping[str, str | Kind] | None = None,
    saves_if_kept: Sequence[str] = (),
    unread: Sequence[str] = (),
    on_request: Sequence[str] = (),
    trained: Sequence[str] | None = None,
    check: Callable[[Any], None] | None = None,
    check_values: Callable[[Any], None] | None = None,
    otherwise: Callable[[str, Any], Any] | None = None,
    otherwise_backward: Callable[..., dict[str, Tensor]] | None = None,
    made_of: Sequence[str] = (),
    finish: Callable[[Any], Any] | None = None,
    is_data: bool = False,
) -> Op[P, R]:
    """Declare and register the op of a function of ``m2t_fast.reference``, and enter it in the table of ops.

    Args:
        file: name of the module in each backend's package that has its kernels.
        name: None: that of the function.
        differentiable: a backend has ``NAME_backward``. autocast: takes torch's dtype under ``torch.autocast``.
        saves: outputs that the gradient reads. unread: inputs that it does not, whose tensor it gets as None.
        keeps: what a forward pass may keep besides for the gradient, with its shape; a backend says whether.
        saves_if_kept: outputs that the gradient reads where something was kept.
        on_request: inputs whose gradient is expensive, and computed only on request.
        trained: outputs that a training step goes through (None: all); benchmarks take their gradient.
        check: raises for options that do not fit. check_values: for values of tensors within their bounds. The public
            call runs both.
        otherwise, otherwise_backward: run where the backend has no kernel of its own; None: the reference's.
        made_of: the ops that ``otherwise`` runs, on the backend that was asked for.
        finish: what the public call makes of the outputs.
        is_data: its outputs are a step's input, not its work: ``autograd`` takes them from the fastest backend.
    """
    return Op(
        reference,
        file=file,
        name=name,
        finish=finish,
        differentiable=differentiable,
        autocast=autocast,
        saves=tuple(saves),
        keeps=dict(keeps or {}),
        saves_if_kept=tuple(saves_if_kept),
        unread=tuple(unread),
        on_request=tuple(on_request),
        trained=trained,
        check=check,
        check_values=check_values,
        otherwise=otherwise,
        otherwise_backward=otherwise_backward,
        made_of=tuple(made_of),
        is_data=is_data,
    )
