"""What torch's dispatcher and compiler are told about this package, without loading the compiler.

``torch.library.custom_op`` and ``torch.compiler.assume_constant_result`` load it when the first op runs, which takes
about as long as importing torch. What they register is registered here; a process that compiles nothing goes without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch._C._dynamo import eval_frame
from torch._library.custom_ops import get_library_allowing_overwrite

Function = TypeVar("Function", bound=Callable[..., Any])

_AS_IT_STANDS = eval_frame._FrameExecStrategy(eval_frame._FrameAction.SKIP, eval_frame._FrameAction.SKIP)
"""Of a frame, and of the frames below it."""


def register(
    name: str,
    function: Callable[..., Any],
    fake: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    setup_context: Callable[..., None] | None = None,
    schema: str | None = None,
) -> Any:
    """Registers ``torch.ops.m2t_fast.NAME``, which changes none of its arguments, and returns it.

    Args:
        function: runs it, on every device; its outputs share no memory with its arguments nor with one another.
        fake: gives outputs with the right shapes and dtypes.
        backward, setup_context: as of ``torch.library.register_autograd``; None: it has no gradient, and says so.
        schema: arguments and outputs as torch writes them; None: as the annotations of ``function`` say.
    """
    if schema is None:
        schema = torch.library.infer_schema(function, mutates_args=())
    library = get_library_allowing_overwrite("m2t_fast", name)  # it may be there: a notebook reloads modules
    library.define(name + schema, tags=(torch.Tag.pt2_compliant_tag,))
    qualified = f"m2t_fast::{name}"
    library.impl(name, _checked(name, function), "CompositeExplicitAutograd")
    torch.library.register_fake(qualified, fake, lib=library)

    def no_gradient(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError(f"{name}: its gradient was asked for; expected none, this op has no gradient")

    torch.library.register_autograd(qualified, backward or no_gradient, setup_context=setup_context, lib=library)
    return getattr(torch.ops.m2t_fast, name).default


def _checked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """What the dispatcher calls: ``function``, and a look at whose memory its outputs are."""

    def run(*args: Any) -> Any:
        outputs = function(*args)
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        if torch._C._any_output_is_alias_to_input_or_output(args, {}, several):
            raise RuntimeError(
                f"{name}: an output shares memory with an argument or another output; expected memory of its own"
            )
        return outputs

    # As torch.compiler.disable has it: code that torch.compile meets here, and what it calls, runs as it stands.
    eval_frame.set_code_exec_strategy(run.__code__, _AS_IT_STANDS)
    return run


def assume_constant_result(function: Function) -> Function:
    """``torch.compiler.assume_constant_result``, which sets this mark and nothing else: asked while tracing."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
