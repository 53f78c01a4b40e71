"""Hostile tensors and options at every entry of every op; `make hostile` tries thousands under the sanitizers."""

from __future__ import annotations

import hostile
import pytest
import torch

from m2t_fast.ops.cases import CASES


@pytest.mark.filterwarnings("ignore")
def test_a_call_raises_or_gives_what_the_equations_give() -> None:
    said: list[str] = []
    assert hostile.run(150, seed=2, say=said.append) == 0, said


def test_a_registered_gradient_is_checked_like_a_call() -> None:
    declared = hostile.registry.OPS["spatio_temporal_attention"]
    x = next(iter(CASES["spatio_temporal_attention"].values())).record(torch.float32)
    outputs = dict(zip((name for name, _ in declared.outputs), declared(*x), strict=True))
    saved = [outputs.get(name) for name in declared._saved._fields]
    grads = [torch.ones_like(value) for value in outputs.values()]
    backward = torch.ops.m2t_fast.spatio_temporal_attention_backward
    needed = [True] * len(declared._on_request)

    def call(grads: list[torch.Tensor], saved: list[torch.Tensor | None]) -> None:
        backward(*grads, *declared._backward_packing.pack(x), *saved, *needed, "cpu")

    call(grads, saved)
    with pytest.raises(ValueError, match="grad_context has shape .* expected"):
        call([grads[0][..., :1], *grads[1:]], saved)
    with pytest.raises(TypeError, match="grad_context has dtype torch.float64, expected torch.float32"):
        call([grads[0].double(), *grads[1:]], saved)
    place = next(place for place, value in enumerate(saved) if value is not None)
    with pytest.raises(ValueError, match="saved_.* has shape .* expected"):
        call(grads, [v[:0] if n == place and v is not None else v for n, v in enumerate(saved)])


def test_options_that_do_not_fit_are_refused_by_every_name() -> None:
    """What the public call refuses, the registered op once took, and read outside of the frames."""
    declared = hostile.registry.OPS["gather_motions"]
    x = next(iter(CASES["gather_motions"].values())).record(torch.float32)
    for wrong in (x._replace(frames=x.frames[:, :0]), x._replace(mean=torch.zeros(3), std=None)):
        with pytest.raises(ValueError, match="gather_motions: "):
            declared.in_bounds(*wrong)
        with pytest.raises(ValueError, match="gather_motions: "):
            torch.ops.m2t_fast.gather_motions(*declared._packing.pack(wrong), "cpu")
