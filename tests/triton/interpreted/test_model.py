"""The whole model on interpreted Triton kernels: training steps, captions, one graph of forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from m2t_fast import Captioner, CaptionerConfig, use_backend
from m2t_fast.captioner import Draws
from m2t_fast.data.batches import Batch
from m2t_fast.losses import guided_loss
from m2t_fast.ops.registry import has_kernel
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.step import TrainingStep

pytestmark = pytest.mark.interpreted


@pytest.mark.parametrize("scoring", ["part", "frame"])
def test_a_whole_training_step_and_captions(scoring: str) -> None:
    torch.manual_seed(0)
    sizes = dict(part_dim=12, attention_dim=10, hidden_size=9, embedding_dim=5)
    model = Captioner(CaptionerConfig(vocab_size=11, joints=22, scoring=scoring, dropout=0.0, **sizes))
    motion, lengths = torch.randn(3, 11, 22, 3), torch.tensor([11, 4, 1])
    tokens = torch.randint(2, 11, (3, 6))
    gate_target, spatial_target = torch.randint(-1, 2, (3, 5)), torch.randint(-1, 2, (3, 5, 6))
    found = {}
    for backend in ("reference", "triton"):
        with use_backend(backend):
            model.zero_grad()
            generator = torch.Generator().manual_seed(1)
            out = model(motion, lengths, tokens, teacher_forcing=0.5, generator=generator)
            loss = guided_loss(out, tokens, lengths, gate_target, spatial_target)
            loss.total.backward()
            captions = model.generate(motion, lengths, beam_size=2, max_length=5)
        found[backend] = [out.logits, *loss, captions.scores, *(p.grad for p in model.parameters())]
    for ours, expected in zip(found["triton"], found["reference"], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_a_compiled_model() -> None:
    model = Captioner(CaptionerConfig(vocab_size=7, joints=21, part_dim=6, attention_dim=5, hidden_size=4))
    motion, lengths, tokens = torch.randn(2, 5, 21, 3), torch.tensor([5, 2]), torch.randint(2, 7, (2, 4))
    with use_backend("triton"):
        compiled = torch.compile(model.eval(), fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(motion, lengths, tokens).logits, model(motion, lengths, tokens).logits)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)  # torch has no LSTM in float16 on a processor
def test_a_compiled_training_step(dtype: torch.dtype | None) -> None:
    """Forward, losses and backward in one graph: no break, and fakes that tell the truth about every op."""
    torch.manual_seed(1)
    model = Captioner(CaptionerConfig(vocab_size=7, joints=21, part_dim=6, attention_dim=5, hidden_size=4)).eval()
    motion, lengths, tokens = torch.randn(2, 5, 21, 3), torch.tensor([5, 2]), torch.randint(2, 7, (2, 4))
    gate_target, spatial_target = torch.randint(-1, 2, (2, 3)).float(), torch.randint(-1, 2, (2, 3, 6)).float()

    def step() -> Tensor:
        batch = Batch(motion, lengths, tokens, gate_target, spatial_target, torch.arange(2))
        return model.losses(batch, Draws(None, None), folded=True).weighted(2.0, 3.0).total

    found = []
    with use_backend("triton"), torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        for run in (step, torch.compile(step, fullgraph=True, backend="aot_eager")):
            model.zero_grad()
            total = run()
            total.backward()
            found.append([total.detach().float(), *(p.grad for p in model.parameters())])
    tolerance = 1e-5 if dtype is None else 0.05
    for ours, expected in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("scoring", ["part", "frame"])
def test_a_step_of_the_training_loop(scoring: str) -> None:
    sizes = dict(part_dim=8, attention_dim=7, hidden_size=6, embedding_dim=5)
    g = torch.Generator().manual_seed(2)
    motion, lengths = torch.randn(2, 9, 21, 3, generator=g), torch.tensor([9, 5])
    tokens, gate = torch.randint(2, 9, (2, 5), generator=g), torch.randint(-1, 2, (2, 4), generator=g).float()
    spatial = torch.randint(-1, 2, (2, 4, 6), generator=g).float()
    batch = Batch(motion, lengths, tokens, gate, spatial, torch.arange(2))
    found = []
    for backend in ("reference", "triton"):
        with use_backend(backend):
            assert has_kernel("guided_attention", motion) == (backend == "triton")
            torch.manual_seed(0)
            model = Captioner(CaptionerConfig(vocab_size=9, joints=21, scoring=scoring, **sizes)).train()
            optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
            step = TrainingStep(model, optimizer, TrainingSettings())
            losses = step(batch, torch.Generator().manual_seed(1))
            found.append([*losses, *(p.detach() for p in model.parameters())])
    for plain, fused in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)
