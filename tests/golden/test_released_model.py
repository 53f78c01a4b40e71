"""The released model's recordings: logits, attention, losses, gradients and words, to 1e-5 and 1e-10."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from m2t_fast.benchmarking.stepwise import stepwise
from m2t_fast.captioner import CaptionerOutput, Draws
from m2t_fast.config import LOG_MIN
from m2t_fast.losses import adaptive_loss, guided_loss, language_loss

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def close(actual: Tensor, expected: Tensor, dtype: torch.dtype, what: str) -> None:
    """Equal to the tolerance of the dtype, relative to the tensor's largest value where that is above 1."""
    scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    error = float((actual.detach().double() - expected.double()).abs().max()) / scale if expected.numel() else 0.0
    assert error <= TOLERANCE[dtype], f"{what}: {error:.3g} of {scale:.3g}"


def check_outputs(out: CaptionerOutput, golden, group: str, lengths: Tensor) -> None:
    valid = torch.arange(out.window.shape[2]) < lengths[:, None]
    close(out.logits, golden.words_first(f"{group}/logits"), golden.dtype, "logits")
    close(out.gate, golden.words_first(f"{group}/beta"), golden.dtype, "gate")
    close(out.spatial, golden.spatial(f"{group}/spatial_attentions"), golden.dtype, "spatial")
    window = torch.where(valid[:, None], golden.window(f"{group}/temporal_attentions"), 0)
    close(out.window, window, golden.dtype, "window")
    close(out.mean, golden.words_first(f"{group}/mu_derived"), golden.dtype, "mean")
    close(out.std, golden.words_first(f"{group}/sigma_derived"), golden.dtype, "std")
    assert torch.equal(out.logits.argmax(-1), golden.words_first(f"{group}/pred")[:, 1:])


def recorded_spatial_loss(out: CaptionerOutput, target: Tensor) -> Tensor:
    """The released normalisation: padded frames count too, where the logarithm's floor makes each cost 100."""
    target = target[:, :, None, :].expand_as(out.spatial)
    log = torch.log(out.spatial.clamp(min=1e-45)).clamp(min=LOG_MIN)
    log_other = torch.log1p(-out.spatial).clamp(min=LOG_MIN)
    each = torch.where(target > 0, -log, -log_other) * (target >= 0)
    return each.sum() / torch.count_nonzero(each)


def run(golden, group: str):
    motion, lengths = golden.motion(f"{group}x"), golden(f"{group}src_lens")
    tokens = golden("y").T.contiguous()
    model = golden.model()
    return model, model(motion, lengths, tokens), tokens, lengths


@pytest.mark.parametrize("group", ["", "eq/"])
def test_teacher_forced_outputs(golden, group):
    _, out, _, lengths = run(golden, group)
    check_outputs(out, golden, f"{group}out", lengths)


def test_encoder_features(golden):
    model = golden.model()
    motion, lengths = golden.motion("x"), golden("src_lens")
    parts = model.encode(motion, lengths).parts
    expected = golden("out/xparts").permute(1, 0, 3, 2)[:, :, golden.parts]
    for n, length in enumerate(lengths.tolist()):
        close(parts[n, :length], expected[n, :length], golden.dtype, "parts")


def check_gradients(model, golden, prefix: str) -> None:
    expected = golden.gradients(prefix)
    # One scale for all: a gradient that is rounding noise of a large loss is compared with the large ones.
    scale = max(1.0, max(float(g.abs().max()) for g in expected.values()))
    parameters = dict(model.named_parameters())
    assert set(parameters) == set(expected)
    for name, parameter in parameters.items():
        close(parameter.grad / scale, expected[name] / scale, golden.dtype, name)
    norm = torch.stack([p.grad.double().norm() for p in parameters.values()]).norm()
    close(norm / norm, golden(prefix.replace("g/", "out/") + "grad_norm") / norm, golden.dtype, "grad_norm")


def test_losses_and_every_gradient_without_padding(golden):
    model, out, tokens, lengths = run(golden, "eq/")
    targets = golden("gates")[:, 1:], golden.spatial_target("alphas")[:, 1:]
    loss = guided_loss(out, tokens, lengths, *targets, lambda_spat=2.0, lambda_adapt=3.0)
    close(loss.language, golden("eq/out/loss_lang"), golden.dtype, "language")
    close(loss.spatial, golden("eq/out/loss_spat"), golden.dtype, "spatial")
    close(loss.adaptive, golden("eq/out/loss_adapt"), golden.dtype, "adaptive")
    close(loss.total, golden("eq/out/loss"), golden.dtype, "total")
    loss.total.backward()
    check_gradients(model, golden, "eq/g/")


def test_losses_and_every_gradient_with_padding_as_recorded(golden):
    model, out, tokens, lengths = run(golden, "")
    gate_target, spatial_target = golden("gates")[:, 1:], golden.spatial_target("alphas")[:, 1:]
    language = language_loss(out.logits, tokens[:, 1:])
    adaptive = adaptive_loss(out.gate, gate_target, out.gate_logit)
    spatial = recorded_spatial_loss(out, spatial_target)
    close(language, golden("out/loss_lang"), golden.dtype, "language")
    close(adaptive, golden("out/loss_adapt"), golden.dtype, "adaptive")
    close(spatial, golden("out/loss_spat"), golden.dtype, "spatial")
    ours = guided_loss(out, tokens, lengths, gate_target, spatial_target).spatial
    expected = golden("out/spat_sum_real") / golden("out/spat_supervised_real")
    close(ours, expected, golden.dtype, "spatial over valid frames")
    total = language + 2 * spatial + 3 * adaptive
    close(total, golden("out/loss"), golden.dtype, "total")
    total.backward()
    check_gradients(model, golden, "g/")


def test_targets_may_keep_the_column_of_sos(golden):
    _, out, tokens, lengths = run(golden, "eq/")
    with_sos = guided_loss(out, tokens, lengths, golden("gates"), golden.spatial_target("alphas"))
    close(with_sos.total, golden("eq/out/loss"), golden.dtype, "total")


@pytest.mark.parametrize("how", ["parallel", "stepwise"])
def test_mixed_words(golden, how):
    model = golden.model()
    motion, lengths, tokens = golden.motion("x"), golden("src_lens"), golden("y").T.contiguous()
    draws = Draws(golden("mix/use_truth"), None)
    out = (model.run if how == "parallel" else lambda *a: stepwise(model, *a))(motion, lengths, tokens, draws)
    close(out.logits, golden.words_first("mix/out/logits"), golden.dtype, "logits")
    assert torch.equal(out.logits.argmax(-1), golden.words_first("mix/out/pred")[:, 1:])


def test_greedy_words(golden):
    motion, lengths = golden.motion("x"), golden("src_lens")
    expected = golden.words_first("greedy/out/pred")[:, 1:]
    found = golden.model().generate(motion, lengths, beam_size=1, max_length=expected.shape[1])
    for n in range(len(expected)):
        words = expected[n].tolist()
        words = words[: words.index(2) + 1] if 2 in words else words
        assert found.tokens[n, 0, : len(words)].tolist() == words
        gate = golden.words_first("greedy/out/beta")[n, : len(words)]
        close(found.attention.gate[n, : len(words)], gate, golden.dtype, "gate")
        window = golden.window("greedy/out/temporal_attentions")[n, : len(words), : lengths[n]]
        close(found.attention.window[n, : len(words), : lengths[n]], window, golden.dtype, "window")
        spatial = golden.spatial("greedy/out/spatial_attentions")[n, : len(words)]
        close(found.attention.spatial[n, : len(words)], spatial, golden.dtype, "spatial")


def test_free_running_greedy_to_the_end(golden):
    """The recording goes on after <eos>; so does scheduled sampling that never reads the reference."""
    expected = golden.words_first("greedy/out/pred")
    motion, lengths = golden.motion("x"), golden("src_lens")
    steps = expected.shape[1] - 1
    tokens = torch.ones(len(lengths), steps + 1, dtype=torch.int64)
    out = golden.model()(motion, lengths, tokens, teacher_forcing=0.0)
    assert torch.equal(out.logits.argmax(-1), expected[:, 1:])
    close(out.logits, golden.words_first("greedy/out/logits"), golden.dtype, "logits")


EDGES = ["len1", "len1_among", "len2_3", "no_gate_target", "no_alpha_target", "peaked_x30", "peaked_x300"]
EDGES += ["peaked_x3000"]


@pytest.mark.parametrize("case", EDGES)
def test_edge_cases_are_finite_and_equal_where_the_recording_is(edge, case):
    model = edge.model()
    if case.startswith("peaked"):
        with torch.no_grad():
            model.attention.temporal_weight *= float(case.split("x")[1])
    motion, lengths = edge.motion(f"{case}/x"), edge(f"{case}/src_lens")
    tokens = edge(f"{case}/y").T.contiguous()
    out = model(motion, lengths, tokens)
    expected = edge.words_first(f"{case}/out/logits")
    finite = expected.isfinite().all(-1)
    # A window narrower than SIGMA_MIN frames is widened to it; the recording's is not.
    sigma = edge.words_first(f"{case}/out/sigma_derived")
    same = finite & (sigma > 1e-2)
    assert out.logits.isfinite().all()
    if same.any():
        scale = 10.0 if case.startswith("peaked") else 1.0  # the recording itself moves with rounding there
        close(out.logits[same] / scale, expected[same] / scale, edge.dtype, case)
    loss = guided_loss(out, tokens, lengths, edge(f"{case}/gates")[:, 1:], edge.spatial_target(f"{case}/alphas")[:, 1:])
    assert torch.isfinite(loss.total)
    loss.total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
