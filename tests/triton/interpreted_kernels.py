"""The Triton kernels in Triton's interpreter; test_interpreted.py runs this file in a process of its own."""

from __future__ import annotations

import math

import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor

from m2t_fast import Captioner, CaptionerConfig, ops, reference, use_backend, validation
from m2t_fast.captioner import Draws
from m2t_fast.data.batches import Batch
from m2t_fast.kernels.ceilings import repeat_tanh
from m2t_fast.kernels.functions import gate_loss, gate_loss_slope, tanh
from m2t_fast.losses import guided_loss
from m2t_fast.ops import registry
from m2t_fast.ops.cases import AttentionCase, GateCase, GatherCase
from m2t_fast.ops.guided import is_fused
from m2t_fast.ops.triton import attention, gather, launch
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.step import TrainingStep

NAMES = [
    "context", "window", "spatial", "mean", "std", "d_parts", "d_temporal_keys", "d_spatial_keys", "d_temporal_query",
    "d_spatial_query", "d_temporal_weight", "d_spatial_weight", "d_spatial_bias",
]  # fmt: skip


def results(function, inputs: list[Tensor], scale: float = 1.0, used=range(5)) -> list[Tensor]:
    """The five outputs and the eight gradients of a weighted sum of those in ``used``."""
    *tensors, lengths = inputs
    leaves = [x.detach().requires_grad_() for x in tensors]
    outputs = function(*leaves, lengths, scale)
    g = torch.Generator().manual_seed(1)
    weights = [torch.randn(o.shape, generator=g, dtype=torch.float64).to(o.dtype) for o in outputs]
    total = sum((outputs[i] * weights[i]).sum() for i in used)
    return [*outputs, *torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)]


def on_triton(inputs: list[Tensor], scale: float = 1.0, used=range(5)) -> list[Tensor]:
    with use_backend("triton"):
        return results(ops.spatio_temporal_attention, inputs, scale, used)


def close_to_reference(inputs: list[Tensor], scale: float = 1.0, used=range(5), tolerance: float = 2e-5) -> None:
    exact = results(reference.spatio_temporal_attention, [*(x.double() for x in inputs[:8]), inputs[8]], scale, used)
    for name, ours, expected in zip(NAMES, on_triton(inputs, scale, used), exact, strict=True):
        error, size = (ours.double() - expected).abs().max(), expected.abs().max()
        assert float(error) <= tolerance * max(1.0, float(size)), (name, used, float(error), float(size))


def guided_results(function, inputs: list[Tensor], target: Tensor) -> list[Tensor]:
    leaves = [x.detach().requires_grad_() for x in inputs[:8]]
    context, loss = function(*leaves, inputs[8], target)
    weight = torch.linspace(-1, 2, context.numel(), dtype=torch.float64).view(context.shape).to(context)
    ((context * weight).sum() + (loss * torch.arange(1, loss.shape[1] + 1)).sum()).backward()
    return [context.detach(), loss.detach(), *(x.grad for x in leaves)]


def gate_results(function, inputs: list[Tensor], target: Tensor, used=range(4)) -> list[Tensor]:
    leaves = [x.detach().requires_grad_() for x in inputs]
    outputs = function(*leaves, target)
    weights = [torch.linspace(-1, 2, o.numel(), dtype=torch.float64).view(o.shape).to(o) for o in outputs]
    total = sum((outputs[i] * weights[i]).double().sum() for i in used)
    found = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return [*(o.detach() for o in outputs), *found]


def test_the_interpreter_is_asked_for_by_name_and_never_picked() -> None:
    assert registry.resolve("spatio_temporal_attention", "triton", "cpu") == "triton"
    assert registry.resolve("spatio_temporal_attention", "auto", "cpu") != "triton"
    assert registry.resolve("part_encoder", "triton", "cpu") == "reference"


# In the interpreter a shorter format is rounded outside the kernels: two cases show all there is to see.
POLICY = [
    (op, case, dtype)
    for op in (
        "spatio_temporal_attention",
        "gated_decoder_step",
        "guided_attention",
        "guided_decoder_step",
        "gather_motions",
    )
    for case in validation.OPS[op].cases
    for dtype in (torch.float32, torch.bfloat16, torch.float16)
    if dtype == torch.float32 or case in ("part-plain", "frame-odd", "odd")
]


@pytest.mark.parametrize(("op", "case", "dtype"), POLICY, ids=lambda x: str(x).removeprefix("torch."))
def test_policy(op: str, case: str, dtype: torch.dtype) -> None:
    """No worse than twice (gradients: three times) plain PyTorch in the same dtype."""
    row = validation.row(op, case, "triton", dtype, draws=2 if "plain" in case else 1)
    assert row.passed, row


@pytest.mark.parametrize("S", [1, 6])
def test_the_block_sizes_of_a_gpu(S: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "assumed", "default")
    monkeypatch.setattr(attention, "approximate", lambda tensor: False)
    close_to_reference(AttentionCase(S=S, B=1, T=19, L=9, D=37, H=21).inputs(torch.float32))


@pytest.mark.parametrize("sizes", [dict(P=1, S=1), dict(P=3, S=3), dict(P=9, S=1), dict(P=9, S=9)], ids=str)
def test_other_numbers_of_parts(sizes: dict) -> None:
    close_to_reference(AttentionCase(**sizes, B=3, T=7, D=9).inputs(torch.float32))


@pytest.mark.parametrize("S", [1, 6])
def test_features_and_keys_wider_than_a_block(S: int) -> None:
    close_to_reference(AttentionCase(S=S, B=1, T=5, L=3, H=attention.LARGEST_BLOCK_H + 44, D=300).inputs(torch.float32))


@pytest.mark.parametrize("used", [[0], [1], [2], [3], [4], [0, 2], [1, 3, 4]], ids=str)
def test_some_outputs_used(used: list[int]) -> None:
    for S in (1, 6):
        close_to_reference(AttentionCase(S=S).inputs(torch.float32), 0.5, used)


@pytest.mark.parametrize("S", [1, 6])
def test_any_layout_gives_the_same_bits(S: int) -> None:
    inputs = AttentionCase(S=S, B=3).inputs(torch.float32)
    expected = on_triton(inputs)
    transposed = [x.transpose(0, -1).contiguous().transpose(0, -1) for x in inputs[:8]]
    strided = [torch.stack([x, torch.full_like(x, torch.nan)], dim=-1)[..., 0] for x in inputs[:8]]
    lengths = torch.stack([inputs[8], inputs[8] + 100], dim=-1)[..., 0]
    for layout in ([*transposed, inputs[8]], [*strided, lengths]):
        assert all(torch.equal(a, b) for a, b in zip(on_triton(layout), expected, strict=True))


@pytest.mark.parametrize("S", [1, 6])
def test_padding_is_neither_read_nor_left_unwritten(S: int) -> None:
    case = AttentionCase(S=S, B=4, T=150)  # more frames than a tile
    clean = case.inputs(torch.float32)
    clean[8] = torch.tensor([150, 3, 128, 140])
    dirty = [x.clone() for x in clean]
    outside = torch.arange(case.T) >= clean[8][:, None]
    for x in dirty[:3]:
        x[outside] = torch.nan
    expected, actual = on_triton(clean), on_triton(dirty)
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))
    assert not any(actual[i].transpose(1, 2)[outside].any() for i in (1, 2))
    assert not any(actual[i][outside].any() for i in (5, 6, 7))


@pytest.mark.parametrize("S", [1, 6])
def test_nothing_is_read_that_was_not_written(S: int) -> None:
    inputs = AttentionCase(S=S, B=3).inputs(torch.float32)
    target = torch.ones(3, 5, 6)
    with use_backend("triton"):
        functions = [
            lambda: on_triton(inputs),
            lambda: guided_results(ops.guided_attention, inputs, target),
            lambda: [attention.spatio_temporal_context(*inputs, 1.0)],
            lambda: list(ops.gated_decoder_step(*GateCase().inputs(torch.float32))),
            lambda: gate_results(ops.guided_decoder_step, GateCase().inputs(torch.float32), target[:2, :, 0]),
        ]
        expected = [function() for function in functions]
        fill = torch.utils.deterministic.fill_uninitialized_memory
        try:
            # In this mode torch fills what an allocation gives with NaN.
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = True
            assert torch.empty(3).isnan().all()
            found = [function() for function in functions]
        finally:
            torch.use_deterministic_algorithms(False)
            torch.utils.deterministic.fill_uninitialized_memory = fill
    for a, b in zip(found, expected, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_nan_in_a_valid_frame_shows() -> None:
    inputs = AttentionCase(S=6).inputs(torch.float32)
    inputs[1][0, 0, 0, 0] = torch.nan
    out = on_triton(inputs)
    assert torch.isnan(out[0][0]).all() and torch.isnan(out[3][0]).all() and not torch.isnan(out[0][1]).any()
    context = attention.spatio_temporal_context(*inputs, 1.0)
    assert torch.isnan(context[0]).all() and torch.equal(context[1], out[0][1])


def test_a_clamped_sigma_carries_no_gradient() -> None:
    out = on_triton(AttentionCase(S=6, T=1).inputs(torch.float32), used=[1, 3, 4])
    assert torch.equal(out[4], torch.full_like(out[4], 1e-3)) and torch.equal(out[1], torch.ones_like(out[1]))
    assert not any(g.any() for g in out[5:])


def test_lengths_out_of_range_are_clamped() -> None:
    """The op checks them; called below the op, the kernel must still stay inside its tensors."""
    case = AttentionCase(S=6)
    inputs = case.inputs(torch.float32)
    full = attention.spatio_temporal_attention(*inputs[:8], torch.full_like(inputs[8], case.T), 1.0)
    wrong = attention.spatio_temporal_attention(*inputs[:8], torch.full_like(inputs[8], 10**12), 1.0)
    assert all(torch.equal(a, b) for a, b in zip(wrong, full, strict=True))
    empty = attention.spatio_temporal_attention(*inputs[:8], torch.full_like(inputs[8], -5), 1.0)
    assert not empty[0].any() and not empty[1].any() and not empty[2].any() and torch.isnan(empty[4]).all()


@pytest.mark.parametrize(
    ("S", "sharp", "dtype"),
    [(1, 1.0, torch.float32), (6, 1.0, torch.float32), (1, 300.0, torch.float32), (6, 300.0, torch.float32)]
    + [(6, 300.0, torch.bfloat16), (6, 300.0, torch.float16)],
    ids=str,
)
def test_the_context_alone_skips_what_cannot_be_seen(S: int, sharp: float, dtype: torch.dtype) -> None:
    inputs = AttentionCase(S=S, B=2, T=400, L=1, D=16, sharp=sharp).inputs(dtype)
    expected = reference.spatio_temporal_attention(*(x.double() for x in inputs[:8]), inputs[8])
    if sharp > 1:  # frames outside the window may hold anything: they are not read
        far = (torch.arange(400) - expected.mean).abs() > 10 * expected.std + 128
        assert far.any()
        inputs[0][far], inputs[2][far] = torch.nan, torch.nan
    context = attention.spatio_temporal_context(*inputs, 1.0)
    tolerance = max(2e-5, torch.finfo(dtype).eps)
    torch.testing.assert_close(context.double(), expected.context, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_what_is_skipped_is_below_the_resolution(dtype: torch.dtype) -> None:
    """Frames are left out a block at a time: those within reach of the mean are read, the blocks beyond are not."""
    inputs = AttentionCase(S=1, B=1, T=1000, L=1, D=16, sharp=300.0).inputs(dtype)
    inputs[1].zero_()
    inputs[1][0, 500] = 1.0
    inputs[3].zero_()
    inputs[5].fill_(30.0)  # all attention on frame 500: the window is as narrow as it gets
    assert torch.finfo(dtype).eps / 20 < math.exp(-(attention.reach(dtype) ** 2) / 2) < torch.finfo(dtype).eps / 10
    expected = attention.spatio_temporal_context(*inputs, 1.0)
    block = 128  # of the interpreter's configuration; frame 500 lies in the fourth
    for first, changed in ((0, False), (3 * block, True), (4 * block, False)):
        poisoned = [x.clone() for x in inputs]
        poisoned[0][:, first : first + block] = torch.nan
        found = attention.spatio_temporal_context(*poisoned, 1.0)
        assert bool(found.isnan().all()) == changed and (changed or torch.equal(found, expected))


def test_moments_keep_their_digits_far_into_a_long_motion() -> None:
    """Two frames share the attention at frame 1,900: the mean is between them, sigma is half a frame."""
    inputs = AttentionCase(B=1, T=2000, L=1, S=1, D=1).inputs(torch.float32)
    for i in (1, 3):
        inputs[i].zero_()
    inputs[1][0, 1900:1902] = 5.0
    inputs[5].fill_(400.0)
    out = on_triton(inputs)
    assert float(out[3]) == 1900.5 and float(out[4]) == 0.5


@triton.jit
def _tanh(x, y, N, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, tanh(tl.load(x + i, mask=i < N), False), mask=i < N)


def test_tanh_of_float32_within_2_ulp() -> None:
    x = torch.cat([torch.logspace(-30, 1, 400_001, dtype=torch.float64), torch.linspace(1e-3, 12, 400_001)]).float()
    x = torch.cat([x, -x])
    y = torch.empty_like(x)
    _tanh[(triton.cdiv(len(x), 1 << 16),)](x, y, len(x), BLOCK=1 << 16)
    exact = torch.tanh(x.double())
    _, exponent = torch.frexp(exact)
    error = (y.double() - exact).abs() / torch.ldexp(torch.ones_like(exact), exponent - 24)
    assert float(error.max()) <= 1.2 and float(error.mean()) <= 0.3
    assert bool((y.abs() <= 1).all()) and torch.equal(y[: len(x) // 2], -y[len(x) // 2 :])
    special = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, 1e-42])
    _tanh[(1,)](special, found := torch.empty_like(special), 5, BLOCK=8)
    assert found[0].isnan() and torch.equal(found[1:], torch.tensor([1.0, -1.0, 0.0, 1e-42]))


@pytest.mark.parametrize("force", [0.25, 1.0])
def test_a_forced_gate(force: float) -> None:
    inputs = GateCase().inputs(torch.float32)
    exact = [x.double().requires_grad_() for x in inputs]
    ours = [x.requires_grad_() for x in inputs]
    with use_backend("triton"):
        actual = ops.gated_decoder_step(*ours, force_gate=force)
    expected = reference.gated_decoder_step(*exact, force_gate=force)
    for out in (actual, expected):
        (out.features.square().sum() + (2 * out.gate_logit).sum() + out.gate.sum()).backward()
    for a, e in zip([*actual, *(x.grad for x in ours)], [*expected, *(x.grad for x in exact)], strict=True):
        torch.testing.assert_close(a.double(), e, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("standardise", [False, True])
def test_gathered_motions_have_the_bits_of_the_cpu(standardise: bool) -> None:
    case = GatherCase(B=6, T=70, J=21, motions=5, longest=64, standardise=standardise)
    frames, offsets, index, *statistics = case.inputs(torch.float32)
    with use_backend("triton"):
        found = ops.gather_motions(frames, offsets, index, case.T, *statistics)
    assert torch.equal(found, reference.gather_motions(frames, offsets, index, case.T, *statistics))


def test_gathering_reads_nothing_outside_the_frames() -> None:
    """The op checks its arguments; called below it, motions that are not there are empty, longer ones cut."""
    frames, offsets, _ = GatherCase(standardise=False).inputs(torch.float32)
    index = torch.tensor([-1, 0, 4, 2**40])
    found = gather.gather_motions(frames, offsets, index, 3, None, None)
    assert not found[[0, 2, 3]].any()
    assert torch.equal(found[1:2], reference.gather_motions(frames, offsets, index[1:2], 3))
    found = gather.gather_motions(frames, offsets + len(frames) - 2, index[1:2], 9, None, None)
    assert torch.equal(found[0, :2, 0], frames[-2:, 0]) and not found[0, 2:].any()


def test_opcheck() -> None:
    case = AttentionCase(S=6, B=1, T=3, L=2)
    inputs = [x.requires_grad_() for x in case.inputs(torch.float32)[:8]]
    lengths = case.inputs()[8]
    torch.library.opcheck(torch.ops.m2t_fast.spatio_temporal_attention, (*inputs, lengths, 1.0, True, "triton"))
    torch.library.opcheck(torch.ops.m2t_fast.guided_attention, (*inputs, lengths, torch.ones(1, 2, 6), 1.0, "triton"))
    gate = [x.requires_grad_() for x in GateCase().inputs(torch.float32)]
    torch.library.opcheck(torch.ops.m2t_fast.gated_decoder_step, (*gate, None, "triton"))
    torch.library.opcheck(torch.ops.m2t_fast.guided_decoder_step, (*gate, torch.ones(2, 5), "triton"))


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


@pytest.mark.parametrize("S", [1, 6])
@pytest.mark.parametrize("spread", [1.0, 40.0])
def test_the_loss_folded_into_the_attention(S: int, spread: float) -> None:
    inputs = AttentionCase(S=S, B=3, T=11, L=4).inputs(torch.float32)
    inputs[6] *= spread  # 40: weights that round to 0 and 1
    target = torch.randint(-1, 2, (3, 4, 6), generator=torch.Generator().manual_seed(3))
    target[1] = -1
    exact = guided_results(reference.guided_attention, [*(x.double() for x in inputs[:8]), inputs[8]], target)
    plain = guided_results(reference.guided_attention, inputs, target)
    with use_backend("triton"):
        ours = guided_results(ops.guided_attention, inputs, target)
    scale = max(float(x.abs().max()) for x in exact[2:])
    for i, (a, p, e) in enumerate(zip(ours, plain, exact, strict=True)):
        size = scale if i > 1 else float(e.abs().max())
        allowed = (3 if i > 1 else 2) * float((p - e).abs().max()) + 1e-6 * size
        assert float((a - e).abs().max()) <= allowed, (i, float((a - e).abs().max()), allowed)


@pytest.mark.parametrize("used", [range(4), [3], [0, 3], [0]], ids=str)
@pytest.mark.parametrize("spread", [1.0, 40.0])
def test_the_loss_folded_into_the_gated_step(spread: float, used, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = GateCase(B=3, L=7).inputs(torch.float32)
    inputs[5] *= spread  # 40: gates that round to 0 and 1
    target = torch.randint(-1, 2, (3, 7), generator=torch.Generator().manual_seed(3))
    target[1] = -1
    exact = gate_results(reference.guided_decoder_step, [x.double() for x in inputs], target, used)
    plain = gate_results(reference.guided_decoder_step, inputs, target, used)
    with use_backend("triton"):
        ours = gate_results(ops.guided_decoder_step, inputs, target, used)
    scale = max(float(x.abs().max()) for x in exact[4:])
    for i, (a, p, e) in enumerate(zip(ours, plain, exact, strict=True)):
        size = scale if i > 3 else float(e.abs().max())
        allowed = (3 if i > 3 else 2) * float((p - e).abs().max()) + 1e-6 * size
        assert float((a - e).abs().max()) <= allowed, (i, float((a - e).abs().max()), allowed)
    assert ours[3].dtype == torch.float32 and not ours[3][1].any()
    with use_backend("triton"):
        kept = ops.gated_decoder_step(*inputs)
    assert all(torch.equal(a, b) for a, b in zip(ours, kept, strict=False))


@triton.jit
def _gate_losses(x, goal, loss, slope, N, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    logit, wanted = tl.load(x + i, mask=i < N), tl.load(goal + i, mask=i < N)
    tl.store(loss + i, gate_loss(logit, wanted), mask=i < N)
    tl.store(slope + i, gate_loss_slope(logit, wanted), mask=i < N)


@pytest.mark.parametrize("goal", [0.0, 0.25, 1.0])
def test_the_gate_loss_keeps_its_digits_where_it_is_small(goal: float) -> None:
    x = torch.linspace(-80, 80, 4001)
    loss, slope = torch.empty_like(x), torch.empty_like(x)
    _gate_losses[(1,)](x, torch.full_like(x, goal), loss, slope, len(x), BLOCK=4096)
    exact = x.double().requires_grad_()
    softplus = torch.nn.functional.softplus
    expected = (1 - goal) * softplus(exact) + goal * softplus(-exact)
    expected.sum().backward()
    torch.testing.assert_close(loss.double(), expected.detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(slope.double(), exact.grad, rtol=1e-6, atol=1e-7 if goal == 0.25 else 1e-40)


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
            assert is_fused(motion) == (backend == "triton")
            torch.manual_seed(0)
            model = Captioner(CaptionerConfig(vocab_size=9, joints=21, scoring=scoring, **sizes)).train()
            optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
            step = TrainingStep(model, optimizer, TrainingSettings())
            losses = step(batch, torch.Generator().manual_seed(1))
            found.append([*losses, *(p.detach() for p in model.parameters())])
    for plain, fused in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)


def test_the_bare_tanh_loop() -> None:
    out = torch.zeros(256)
    repeat_tanh[(2,)](out, 3, BLOCK=128, APPROXIMATE=False)
    expected = torch.arange(256, dtype=torch.float64) * 1e-6
    for _ in range(3):
        expected = torch.tanh(expected) + 0.7
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=0)
