"""The guided losses against hand-worked numbers and torch's own cross entropies."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

import m2t_fast
from m2t_fast import reference
from m2t_fast.losses import adaptive_loss, guided_loss, language_loss, spatial_loss, supervised_counts, temporal_loss

LENGTHS = torch.tensor([2, 3])


def outputs(B=2, L=4, T=3, P=6, V=9, seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(B, L, V, generator=g, dtype=torch.float64)
    gate_logit = torch.randn(B, L, generator=g, dtype=torch.float64)
    spatial = torch.randn(B, L, T, P, generator=g, dtype=torch.float64).softmax(-1)
    return SimpleNamespace(logits=logits, gate=gate_logit.sigmoid(), gate_logit=gate_logit, spatial=spatial)


def test_language_ignores_padding():
    out = outputs()
    targets = torch.tensor([[4, 5, 2, 0], [6, 2, 0, 0]])
    log = out.logits.log_softmax(-1)
    words = [(0, 0, 4), (0, 1, 5), (0, 2, 2), (1, 0, 6), (1, 1, 2)]
    expected = -sum(float(log[w]) for w in words) / 5
    assert float(language_loss(out.logits, targets)) == pytest.approx(expected, rel=1e-12)


def test_language_of_nothing_but_padding_is_zero():
    assert float(language_loss(outputs().logits, torch.zeros(2, 4, dtype=torch.int64))) == 0.0


def test_adaptive_counts_supervised_words_only():
    gate = torch.tensor([[0.9, 0.2, 0.5]], dtype=torch.float64)
    target = torch.tensor([[1.0, 0.0, -1.0]])
    expected = -(math.log(0.9) + math.log(0.8)) / 2
    assert float(adaptive_loss(gate, target)) == pytest.approx(expected, rel=1e-12)
    assert float(adaptive_loss(gate, target, gate.logit())) == pytest.approx(expected, rel=1e-12)


def test_adaptive_is_exact_where_the_gate_rounds_to_one():
    logit = torch.tensor([[40.0]], requires_grad=True)
    loss = adaptive_loss(logit.sigmoid(), torch.tensor([[0.0]]), logit)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(40.0, rel=1e-6)
    assert float(logit.grad) == pytest.approx(1.0, rel=1e-6)


def test_spatial_counts_supervised_words_valid_frames_and_parts():
    out = outputs()
    target = torch.full((2, 4, 6), -1.0)
    target[0, 1] = torch.tensor([0.0, 0, 1, 1, 0, 0])
    target[1, 3] = torch.tensor([1.0, 0, 0, 0, 0, 0])
    terms = []
    for b, word in ((0, 1), (1, 3)):
        for k in range(int(LENGTHS[b])):
            terms.append(F.binary_cross_entropy(out.spatial[b, word, k], target[b, word].double(), reduction="none"))
    expected = float(torch.stack(terms).mean())
    assert float(spatial_loss(out.spatial, target, LENGTHS)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("value", [0.0, 1e-30, 1.0])
def test_spatial_is_finite_where_alpha_is_extreme(value):
    scores = torch.tensor([0.0, -200.0, -200.0, -200.0, -200.0, -200.0], requires_grad=True)
    alpha = scores.softmax(-1).expand(1, 1, 1, 6)
    target = torch.tensor([0.0, 1, 0, 0, 0, 0]).expand(1, 1, 6)
    loss = spatial_loss(alpha, target, torch.tensor([1]))
    loss.backward()
    assert loss.isfinite() and scores.grad.isfinite().all()


def test_spatial_is_exact_where_alpha_rounds_to_one():
    """-log(1 - alpha) of a part that takes all: 20, not the infinity of float32's 1 - 1."""
    scores = torch.tensor([20.0, 0, -50, -50, -50, -50])
    target = torch.tensor([0.0, -1, -1, -1, -1, -1]).expand(1, 1, 6)
    loss = spatial_loss(scores.softmax(-1).expand(1, 1, 1, 6), target, torch.tensor([1]))
    assert float(loss) == pytest.approx(20.0, rel=1e-5)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_spatial_in_half_precision_is_that_of_the_numbers_given(backend):
    """Weights below float16's least normal number have logarithms, and the sum of many terms is none that it holds."""
    alpha = torch.tensor([0.6, 0.4 - 6e-5, 3e-5, 3e-5, 0.0, 0.0]).half().expand(8, 20, 200, 6)
    target, lengths = torch.ones(8, 20, 6, dtype=torch.int8), torch.full((8,), 200)
    wide = alpha.double().requires_grad_()
    expected = reference.spatial_loss(wide, target, lengths)
    given = alpha.clone().requires_grad_()
    with m2t_fast.use_backend(backend):
        found = m2t_fast.ops.spatial_loss(given, target, lengths)
    assert found.dtype is torch.float16 and float(found.detach()) == pytest.approx(float(expected.detach()), rel=2e-3)
    (grad,), (exact,) = torch.autograd.grad(found, given), torch.autograd.grad(expected, wide)
    torch.testing.assert_close(grad.double(), exact, rtol=2e-2, atol=1e-6)


def test_no_supervised_word_is_zero_with_zero_gradient():
    out = outputs()
    out.spatial.requires_grad_()
    out.gate_logit.requires_grad_()
    loss = guided_loss(out, torch.ones(2, 5, dtype=torch.int64), LENGTHS, -torch.ones(2, 4), -torch.ones(2, 4, 6))
    assert float(loss.spatial.detach()) == 0.0 and float(loss.adaptive.detach()) == 0.0
    (loss.spatial + loss.adaptive).backward()
    assert (out.spatial.grad == 0).all() and (out.gate_logit.grad == 0).all()


def test_temporal_is_zero_on_the_segment_and_grows_with_the_distance():
    """A segment of 12 frames has the mean 7.5 and sigma root 12; a sigma off by as much costs ln 2, a mean ln 5."""
    s = math.sqrt(12)
    target = torch.tensor([[[1.5, 13.5]] * 4 + [[-1.0, -1.0]]], dtype=torch.float64)
    mean = torch.tensor([[7.5, 7.5, 7.5 + 2 * s, 7.5 - s, 99.0]], dtype=torch.float64)
    std = torch.tensor([[s, 2 * s, s, 0.0, 1e-3]], dtype=torch.float64)
    expected = (0 + math.log(2) + math.log(5) + math.log(3)) / 4
    assert float(temporal_loss(mean, std, target)) == pytest.approx(expected, rel=1e-12)


def test_temporal_of_words_without_a_time_is_zero_with_zero_gradient():
    mean, std = (torch.full((2, 3), 5.0, requires_grad=True) for _ in range(2))
    target = torch.tensor([-1.0, -1.0]).expand(2, 3, 2)
    loss = temporal_loss(mean, std, target)
    loss.backward()
    assert float(loss.detach()) == 0.0 and not mean.grad.any() and not std.grad.any()


def test_temporal_gradient_is_that_of_differences():
    g = torch.Generator().manual_seed(0)
    mean, std = (torch.rand(2, 3, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(2))
    target = torch.tensor([[[0.5, 4.5], [-1, -1], [0, 0]], [[2.5, 3.5], [-0.5, 9.5], [1.5, 6.5]]])
    torch.autograd.gradcheck(lambda m, s: temporal_loss(20 * m, 9 * s, target), (mean, std))


def test_temporal_counts_and_weighs_beside_the_others():
    out = outputs()
    g = torch.Generator().manual_seed(1)
    out.mean, out.std = (3 * torch.rand(2, 4, generator=g, dtype=torch.float64) for _ in range(2))
    tokens = torch.randint(3, 9, (2, 5), generator=g)
    gate, spatial = torch.randint(-1, 2, (2, 4), generator=g), torch.randint(-1, 2, (2, 4, 6), generator=g)
    times = torch.full((2, 5, 2), -1.0)
    times[0, 2], times[1, 4] = torch.tensor([-0.5, 1.5]), torch.tensor([0.5, 2.5])
    plain = guided_loss(out, tokens, LENGTHS, gate, spatial)
    loss = guided_loss(out, tokens, LENGTHS, gate, spatial, lambda_temp=0.5, temporal_target=times)
    assert loss[1:4] == plain[1:] and float(loss.total) == pytest.approx(float(plain.total + 0.5 * loss.temporal))
    assert float(loss.temporal) == float(temporal_loss(out.mean, out.std, times[:, 1:])) > 0
    assert supervised_counts(tokens, LENGTHS, gate, spatial, times[:, 1:]).tolist() == [
        *supervised_counts(tokens, LENGTHS, gate, spatial).tolist(),
        2,
    ]
    with pytest.raises(ValueError, match=r"temporal_target has shape \(2, 3, 2\)"):
        guided_loss(out, tokens, LENGTHS, gate, spatial, temporal_target=times[:, 2:])


def test_padded_frames_do_not_count():
    out = outputs()
    target = torch.randint(0, 2, (2, 4, 6)).double()
    before = float(spatial_loss(out.spatial, target, LENGTHS))
    out.spatial[0, :, 2] = 0.0
    assert float(spatial_loss(out.spatial, target, LENGTHS)) == before


def test_total_weighs_the_three():
    out = outputs()
    tokens = torch.randint(3, 9, (2, 5))
    gate, spatial = torch.randint(-1, 2, (2, 4)), torch.randint(-1, 2, (2, 4, 6))
    loss = guided_loss(out, tokens, LENGTHS, gate, spatial, lambda_spat=0.5, lambda_adapt=7.0)
    assert float(loss.total) == pytest.approx(float(loss.language + 0.5 * loss.spatial + 7.0 * loss.adaptive))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("tokens", (2, 4)), ("lengths", (3,)), ("gate_target", (2, 3)), ("spatial_target", (2, 4, 5))],
)
def test_wrong_shapes_are_refused_by_name(name, shape):
    arguments = dict(
        tokens=torch.ones(2, 5, dtype=torch.int64),
        lengths=LENGTHS,
        gate_target=torch.zeros(2, 4),
        spatial_target=torch.zeros(2, 4, 6),
    )
    arguments[name] = torch.zeros(shape, dtype=arguments[name].dtype)
    with pytest.raises(ValueError, match=name):
        guided_loss(outputs(), **arguments)
