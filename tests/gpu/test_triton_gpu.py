"""The Triton kernels on a GPU: the policy, equal bits, poisoned memory, graphs, streams, devices, compilation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from m2t_fast import Captioner, CaptionerConfig, numerics, ops, reference, use_backend
from m2t_fast.captioner import Draws
from m2t_fast.data.batches import Batch
from m2t_fast.ops.cases import AttentionCase, GateCase
from m2t_fast.random import Counter

# Every new width is compiled: the shorter formats in the cases that show what they do.
POLICY = [
    (op, case, dtype)
    for op in (
        "spatio_temporal_attention",
        "gated_decoder_step",
        "guided_attention",
        "guided_decoder_step",
        "gather_motions",
    )
    for case in numerics.OPS[op].cases
    for dtype in (torch.float32, torch.bfloat16, torch.float16)
    if dtype == torch.float32 or case in ("part-plain", "frame-plain", "frame-odd", "part-long-sharp", "odd")
]
MEDIUM = dict(B=8, T=97, L=21, H=128, D=128)


@pytest.fixture(autouse=True)
def on_triton() -> Iterator[None]:
    with use_backend("triton"):
        yield


def on_gpu(case: AttentionCase | GateCase, dtype: torch.dtype = torch.float32, device: str = "cuda") -> list[Tensor]:
    return [x.to(device) for x in case.inputs(dtype)]


def results(function: Callable, inputs: list[Tensor]) -> list[Tensor]:
    """Outputs, and gradients of a weighted sum of them."""
    leaves = [x.detach().requires_grad_() if x.is_floating_point() else x for x in inputs]
    outputs = function(*leaves)
    weights = [torch.linspace(-1, 2, o.numel(), device=o.device).view(o.shape).to(o.dtype) for o in outputs]
    total = sum((o * w).float().sum() for o, w in zip(outputs, weights, strict=True))
    wanted = [x for x in leaves if x.requires_grad]
    return [*(o.detach() for o in outputs), *torch.autograd.grad(total, wanted)]


def goals(*shape: int) -> Tensor:
    """Targets of 1, 0 and -1 in turn."""
    return (torch.arange(math.prod(shape), device="cuda").view(shape) % 3 - 1).float()


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(("op", "case", "dtype"), POLICY, ids=lambda x: str(x).removeprefix("torch."))
def test_policy(op: str, case: str, dtype: torch.dtype) -> None:
    row = numerics.row(op, case, "triton", dtype, device="cuda")
    assert row.passed, row


REPEATED = {
    "attention, frame": (AttentionCase(S=1, **MEDIUM), lambda *x: ops.spatio_temporal_attention.in_bounds(*x, 1.0)),
    "attention, part": (AttentionCase(S=6, **MEDIUM), lambda *x: ops.spatio_temporal_attention.in_bounds(*x, 1.0)),
    "guided attention, frame": (AttentionCase(S=1, **MEDIUM), lambda *x: ops.guided_attention(*x, goals(8, 21, 6))),
    "guided attention, part": (AttentionCase(S=6, **MEDIUM), lambda *x: ops.guided_attention(*x, goals(8, 21, 6))),
    "gate": (GateCase(B=8, L=21, H=128, C=128, E=64, D=128), ops.gated_decoder_step),
    "guided gate": (
        GateCase(B=8, L=21, H=128, C=128, E=64, D=128),
        lambda *x: ops.guided_decoder_step(*x, goals(8, 21)),
    ),
}


@pytest.mark.parametrize("op", REPEATED)
def test_a_thousand_runs_give_equal_bits_from_poisoned_memory(op: str) -> None:
    case, function = REPEATED[op]
    inputs = on_gpu(case)
    expected = results(function, inputs)
    assert all(x.isfinite().all() for x in expected)
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    try:
        # In this mode torch fills what an allocation gives with NaN.
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = True
        assert torch.empty(3, device="cuda").isnan().all()
        for _ in range(1000):
            assert equal(results(function, inputs), expected)
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]


@pytest.mark.parametrize("S", [1, 6])
def test_padding_may_hold_anything(S: int) -> None:
    clean = on_gpu(AttentionCase(S=S, **MEDIUM))
    dirty = [x.clone() for x in clean]
    outside = torch.arange(MEDIUM["T"], device="cuda") >= clean[8][:, None]
    for x in dirty[:3]:
        x[outside] = torch.nan
    function = ops.spatio_temporal_attention
    assert equal(results(function, dirty), results(function, clean))


@pytest.mark.parametrize("S", [1, 6])
def test_nothing_of_words_times_frames_times_features_is_held(S: int) -> None:
    case = AttentionCase(B=4, T=200, L=40, S=S, H=256, D=256)
    inputs = on_gpu(case)
    results(ops.spatio_temporal_attention, inputs)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    results(ops.spatio_temporal_attention, inputs)
    held = torch.cuda.max_memory_allocated() - before
    assert held < case.B * case.L * case.T * case.D * 4


@pytest.mark.parametrize("S", [1, 6])
def test_the_context_alone(S: int) -> None:
    inputs = on_gpu(AttentionCase(S=S, B=4, T=300, L=2, H=64, D=64, sharp=20.0))
    exact = reference.spatio_temporal_attention(*(x.double() for x in inputs[:8]), inputs[8]).context
    torch.testing.assert_close(ops.spatio_temporal_context(*inputs, 1.0).double(), exact, rtol=2e-5, atol=2e-5)


def test_other_streams() -> None:
    inputs = on_gpu(AttentionCase(S=6, **MEDIUM))
    expected = results(ops.spatio_temporal_attention, inputs)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        found = results(ops.spatio_temporal_attention, inputs)
    stream.synchronize()
    assert equal(found, expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
def test_another_device() -> None:
    case = AttentionCase(S=6, **MEDIUM)
    expected = results(ops.spatio_temporal_attention, on_gpu(case))
    with torch.cuda.device(0):
        found = results(ops.spatio_temporal_attention, on_gpu(case, device="cuda:1"))
    assert all(x.device.index == 1 for x in found) and equal([x.to("cuda:0") for x in found], expected)


def test_a_captured_graph() -> None:
    inputs = on_gpu(AttentionCase(S=6, **MEDIUM))
    expected = results(ops.spatio_temporal_attention, inputs)  # also compiles the kernels
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = results(ops.spatio_temporal_attention, inputs)
    for _ in range(3):
        for x in found:
            x.zero_()
        graph.replay()
        torch.cuda.synchronize()
        assert equal(found, expected)


@pytest.mark.parametrize("scoring", ["part", "frame"])
def test_a_captured_training_step(scoring: str) -> None:
    """Forward with folded losses, backward, clipping and AdamW in one graph: four steps of it are four plain steps."""
    torch.manual_seed(0)
    model = Captioner(CaptionerConfig.kit(vocab_size=30, scoring=scoring, dropout=0.0)).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, capturable=True)
    motion, lengths = torch.randn(4, 30, 21, 3, device="cuda"), torch.tensor([30, 9, 1, 20], device="cuda")
    tokens = torch.randint(2, 30, (4, 8), device="cuda")
    batch = Batch(motion, lengths, tokens, goals(4, 7), goals(4, 7, 6), torch.arange(4, device="cuda"))

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = model.losses(batch, Draws(None, None), folded=True).weighted(2.0, 3.0).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    begin = [p.detach().clone() for p in model.parameters()]

    def start_again() -> None:
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), begin, strict=True):
                parameter.copy_(value)
            for state in optimizer.state.values():
                for value in state.values():
                    value.zero_()

    # Away from the default stream, as capture wants it; this also compiles the kernels.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
        start_again()
        losses = [float(step()) for _ in range(4)]
        weights = [p.detach().clone() for p in model.parameters()]
        start_again()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        loss = step()
    start_again()
    found = []
    for _ in range(4):
        graph.replay()
        found.append(float(loss))
    assert found == pytest.approx(losses, rel=1e-5) and losses[3] < losses[0]
    for parameter, expected in zip(model.parameters(), weights, strict=True):
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_ops_take_the_dtype_of_autocast(dtype: torch.dtype) -> None:
    inputs, step = on_gpu(AttentionCase(S=6, **MEDIUM)), on_gpu(GateCase())
    short = [x.to(dtype) if x.is_floating_point() else x for x in inputs]
    with torch.autocast("cuda", dtype=dtype):
        found = results(ops.spatio_temporal_attention, inputs)
        context, loss, mean, _ = ops.guided_attention(*inputs, goals(8, 21, 6))
        features, *_, terms = ops.guided_decoder_step(*step, goals(2, 5))
    expected = results(ops.spatio_temporal_attention, short)
    assert all(x.dtype == dtype for x in found[:5]) and equal(found[:5], expected[:5])
    assert all(x.dtype == torch.float32 for x in found[5:])  # the gradients' is the inputs'
    assert context.dtype == mean.dtype == features.dtype == dtype and loss.dtype == terms.dtype == torch.float32


@pytest.mark.parametrize("seed", [3, 2**64 - 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_draws_are_the_processors_bits_also_from_a_captured_graph(dtype: torch.dtype, seed: int) -> None:
    rows = torch.tensor([5, 2**32 - 1, 0])
    counter = Counter(seed, 7, "cuda", rows)

    def draw(device: str, state: Tensor) -> tuple[Tensor, ...]:
        return ops.random_draws(state, 3, 9, 70, 0.5, 0.3, rows.to(device) if device == "cpu" else counter.rows, dtype)

    def expected(step: int) -> list[Tensor]:
        with use_backend("reference"):
            return [x.cuda() for x in draw("cpu", Counter(seed, step).state)]

    assert equal(list(draw("cuda", counter.state)), expected(7))  # also compiles the kernel
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = list(draw("cuda", counter.state))
        counter.advance()
    counter.set_step(2**32 - 2)
    for step in (2**32 - 2, 2**32 - 1):
        graph.replay()
        torch.cuda.synchronize()
        assert equal(found, expected(step))
    with use_backend("reference"):
        counter.set_step(7)
        assert equal(list(draw("cuda", counter.state)), expected(7))


@pytest.mark.parametrize(("scoring", "dtype"), [("part", torch.bfloat16), ("frame", torch.float16)], ids=str)
def test_a_compiled_training_step_under_autocast(scoring: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    config = CaptionerConfig.kit(vocab_size=30, scoring=scoring, dropout=0.0)
    model = Captioner(config).cuda()
    motion, lengths = torch.randn(4, 30, 21, 3, device="cuda"), torch.tensor([30, 9, 1, 20], device="cuda")
    tokens = torch.randint(2, 30, (4, 8), device="cuda")
    gate_target, spatial_target = torch.ones(4, 7, device="cuda"), torch.ones(4, 7, 6, device="cuda")
    found = []

    batch = Batch(motion, lengths, tokens, gate_target, spatial_target, torch.arange(4, device="cuda"))

    def run() -> Tensor:
        return model.losses(batch, Draws(None, None), folded=scoring == "part").weighted(2.0, 3.0).total

    for function, enabled in ((run, False), (torch.compile(run, fullgraph=True), True)):
        model.zero_grad()
        with torch.autocast("cuda", dtype=dtype, enabled=enabled):
            loss = function()
        loss.backward()
        found.append((float(loss), [p.grad for p in model.parameters()]))
    assert abs(found[1][0] - found[0][0]) < 0.03 * found[0][0]
    for grad, exact in zip(found[1][1], found[0][1], strict=True):
        assert float((grad - exact).norm()) <= 0.1 * float(exact.norm()) + 1e-3


def test_tanh_on_the_device() -> None:
    import triton

    from m2t_fast.kernels.gate import bias_tanh

    x = torch.cat([torch.logspace(-30, 1, 400_001, dtype=torch.float64), torch.linspace(1e-3, 12, 400_001)]).float()
    x = torch.cat([x, -x]).cuda()
    exact = torch.tanh(x.double())
    _, exponent = torch.frexp(exact)
    grid = (triton.cdiv(len(x), 1024),)
    y = torch.empty_like(x)
    bias_tanh[grid](x, torch.zeros_like(x), y, len(x), M=len(x), BLOCK=1024)
    error = (y.double() - exact).abs() / torch.ldexp(torch.ones_like(exact), exponent - 24)
    print(f"tanh: {float(error.max()):.2f} units of float32's last place")
    assert float(error.max()) <= 2.5
