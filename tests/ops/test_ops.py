"""Every op on every backend: the reference's values and gradients, registration, and refusals."""

from __future__ import annotations

import functools
import inspect
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from m2t_fast import ops, reference, use_backend
from m2t_fast.ops.cases import (
    ATTENTION_CASES,
    ENCODER_CASES,
    GATE_CASES,
    GATHER_CASES,
    KEYS_CASES,
    LOSS_CASES,
    LSTM_CASES,
    AttentionCase,
    EncoderCase,
    GateCase,
    GatherCase,
    KeysCase,
    LossCase,
    LstmCase,
)
from m2t_fast.reference.encoder import root_relative


def floats(inputs):
    return [x.clone().requires_grad_() if x.dtype.is_floating_point else x for x in inputs]


def weighted_sum(outputs, which=None, seed=1):
    """A scalar that depends on every output (or those in ``which``) in its own way."""
    g = torch.Generator().manual_seed(seed)
    chosen = [o for i, o in enumerate(outputs) if which is None or i in which]
    return sum((o * torch.randn(o.shape, generator=g, dtype=torch.float64).to(o)).sum() for o in chosen)


def values_and_gradients(function, inputs, which=None):
    inputs = floats(inputs)
    outputs = function(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    leaves = [x for x in inputs if x.requires_grad]
    total = weighted_sum(outputs, which)
    grads = torch.autograd.grad(total, leaves, allow_unused=True) if total.requires_grad else [None] * len(leaves)
    return outputs, [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, grads, strict=True)]


def assert_same(actual, expected, tolerance=1e-10):
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape and a.dtype == e.dtype
        if e.numel():
            assert torch.isfinite(a).all()
            assert float((a - e).detach().abs().max()) <= tolerance * max(1.0, float(e.detach().abs().max()))


def check_against_reference(op, plain, inputs, backend, which=None):
    expected = values_and_gradients(plain, inputs, which)
    with use_backend(backend):
        actual = values_and_gradients(op, inputs, which)
    assert_same(actual[0], expected[0])
    assert_same(actual[1], expected[1])


def attention(case):
    return (
        lambda *x: ops.spatio_temporal_attention(*x, scale=case.scale),
        lambda *x: reference.spatio_temporal_attention(*x, scale=case.scale),
    )


@pytest.mark.parametrize("case", ATTENTION_CASES.values(), ids=ATTENTION_CASES.keys())
def test_attention(case: AttentionCase, backend):
    check_against_reference(*attention(case), case.inputs(), backend)


@pytest.mark.parametrize("which", [w for n in (1, 2) for w in itertools.combinations(range(5), n)])
def test_attention_when_some_outputs_are_used(which, backend):
    case = AttentionCase(S=6)
    check_against_reference(*attention(case), case.inputs(), backend, which)


@given(
    sizes=st.fixed_dictionaries({k: st.integers(1, n) for k, n in dict(B=3, T=20, L=4, P=7, H=9, D=9).items()}),
    frame=st.booleans(),
    seed=st.integers(0, 100),
)
def test_attention_in_any_shape(sizes, frame, seed):
    case = AttentionCase(**sizes, S=1 if frame else sizes["P"])
    check_against_reference(*attention(case), case.inputs(seed=seed), "auto")


def test_attention_ignores_what_lies_in_the_padding(backend):
    case = AttentionCase(S=6, B=3)
    clean = case.inputs()
    dirty = [x.clone() for x in clean]
    for n, length in enumerate(clean[8].tolist()):
        for x in dirty[:3]:
            x[n, length:] = torch.nan
    with use_backend(backend):
        expected = values_and_gradients(attention(case)[0], clean)
        actual = values_and_gradients(attention(case)[0], dirty)
    assert_same(actual[0], expected[0])
    assert_same(actual[1], expected[1])


@pytest.mark.parametrize("case", GATE_CASES.values(), ids=GATE_CASES.keys())
@pytest.mark.parametrize("force", [None, 1.0, 0.25])
def test_gate(case: GateCase, force, backend):
    def op(*x):
        return ops.gated_decoder_step(*x, force_gate=force)

    def plain(*x):
        return reference.gated_decoder_step(*x, force_gate=force)

    check_against_reference(op, plain, case.inputs(), backend)


@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 1)])
def test_gate_when_some_outputs_are_used(which, backend):
    check_against_reference(ops.gated_decoder_step, reference.gated_decoder_step, GateCase().inputs(), backend, which)


@pytest.mark.parametrize("case", ENCODER_CASES.values(), ids=ENCODER_CASES.keys())
def test_encoder(case: EncoderCase, backend):
    check_against_reference(
        lambda *x: ops.part_encoder(*x, parts=case.parts, relative=case.relative),
        lambda *x: reference.part_encoder(*x, parts=case.parts, relative=case.relative),
        case.inputs(),
        backend,
    )


def test_encoder_ignores_what_lies_in_the_padding(backend):
    case = EncoderCase(B=3)
    clean = case.inputs()
    dirty = [x.clone() for x in clean]
    for n, length in enumerate(clean[1].tolist()):
        dirty[0][n, length:] = torch.nan
    with use_backend(backend):
        expected = values_and_gradients(lambda *x: ops.part_encoder(*x, parts=case.parts), clean)
        actual = values_and_gradients(lambda *x: ops.part_encoder(*x, parts=case.parts), dirty)
    assert_same(actual[0], expected[0])
    assert_same(actual[1], expected[1])


def test_the_encoder_takes_relative_motions_to_the_same_bits(backend):
    case = EncoderCase(B=3)
    for dtype in (torch.float32, torch.float64):
        motion, *rest = case.inputs(dtype)
        with use_backend(backend):
            expected = values_and_gradients(lambda *x: ops.part_encoder(*x, parts=case.parts), [motion, *rest])
            arguments = [root_relative(motion), *rest]
            actual = values_and_gradients(lambda *x: ops.part_encoder(*x, parts=case.parts, relative=True), arguments)
        assert torch.equal(actual[0][0], expected[0][0])
        assert all(torch.equal(a, e) for a, e in zip(actual[1][1:], expected[1][1:], strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", GATHER_CASES.values(), ids=GATHER_CASES.keys())
def test_gather(case: GatherCase, dtype, backend):
    """Equal bits: every backend does the same arithmetic, and it is a motion cut out, standardised, made relative."""
    frames, offsets, index, *statistics = inputs = case.inputs(dtype)
    with use_backend(backend):
        actual = ops.gather_motions(*inputs[:3], case.T, *statistics)
    expected = frames.new_zeros(case.B, case.T, case.J, 3)
    for row, motion in enumerate(index.tolist()):
        own = frames[offsets[motion] : offsets[motion + 1]]
        own = (own - statistics[0]) / statistics[1] if statistics else own
        expected[row, : len(own)] = root_relative(own[None])[0]
    assert actual.dtype == dtype and torch.equal(actual, expected)


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    picks=st.lists(st.integers(0, 5), max_size=8),
    joints=st.integers(1, 4),
    spare=st.integers(0, 5),
)
@settings(deadline=None, max_examples=25)
def test_gather_of_any_motions(lengths, picks, joints, spare):
    offsets = torch.tensor([0, *itertools.accumulate(lengths)])
    frames = torch.randn(sum(lengths), joints, 3, generator=torch.Generator().manual_seed(0))
    index = torch.tensor([p % len(lengths) for p in picks], dtype=torch.int64)
    width = max((lengths[i] for i in index.tolist()), default=0) + spare
    expected = reference.gather_motions(frames, offsets, index, width)
    assert torch.equal(ops.gather_motions(frames, offsets, index, width), expected)
    for row, motion in enumerate(index.tolist()):
        own = expected[row]
        assert torch.equal(own[: lengths[motion], 0], frames[offsets[motion] : offsets[motion + 1], 0])
        assert not own[lengths[motion] :].any()


def test_gather_refuses_by_name():
    frames, offsets, index, mean, std = GatherCase().inputs()

    def refused(error, match, **changes):
        arguments = dict(frames=frames, offsets=offsets, index=index, width=9, mean=mean, std=std) | changes
        with pytest.raises(error, match=f"gather_motions: {match}"):
            ops.gather_motions(**arguments)

    refused(ValueError, r"index\[1\] is 4, expected 0 to 3", index=torch.tensor([0, 4]))
    refused(ValueError, r"offsets\[1\] is -1, expected 0 to", offsets=torch.tensor([0, -1]))
    refused(ValueError, "offsets descend", offsets=torch.tensor([0, 3, 2]), index=index[:0])
    refused(ValueError, "offsets has no entry", offsets=offsets[:0])
    refused(ValueError, "width is 8, expected at least 9", width=8, index=torch.tensor([0]))
    refused(TypeError, "width must be an int", width=9.0)
    refused(ValueError, "got one of mean and std", std=None)
    refused(TypeError, "std has dtype torch.float32", std=std.float())
    refused(ValueError, "frames requires a gradient", frames=frames.clone().requires_grad_())
    refused(ValueError, "frames has shape", frames=frames[0])


@pytest.mark.parametrize("standardise", [False, True])
def test_opcheck_of_the_gather(standardise, backend):
    statistics = GatherCase().inputs()[3:] if standardise else [None, None]
    torch.library.opcheck(torch.ops.m2t_fast.gather_motions, (*GatherCase().inputs()[:3], 9, *statistics, backend))


@pytest.mark.parametrize("case", KEYS_CASES.values(), ids=KEYS_CASES.keys())
def test_keys(case: KeysCase, backend):
    check_against_reference(ops.attention_keys, reference.attention_keys, case.inputs(), backend)


def test_keys_ignore_what_lies_in_the_padding(backend):
    clean = KeysCase(S=6).inputs()
    dirty = [x.clone() for x in clean]
    for n, length in enumerate(clean[1].tolist()):
        dirty[0][n, length:] = torch.nan
    with use_backend(backend):
        expected, actual = (values_and_gradients(ops.attention_keys, x) for x in (clean, dirty))
    assert_same(actual[0], expected[0])
    assert_same(actual[1], expected[1])


@pytest.mark.parametrize("case", LOSS_CASES.values(), ids=LOSS_CASES.keys())
def test_spatial_loss(case: LossCase, backend):
    check_against_reference(ops.spatial_loss, reference.spatial_loss, case.inputs(), backend)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spatial_loss_where_weights_underflow(dtype, backend):
    """The log is cut off at -100 (or where the weight is no normal number), its gradient with it."""
    spatial = torch.tensor([1.0, 1e-30, 1e-40, 0.0]).to(dtype).expand(1, 2, 1, 4)
    target = torch.tensor([[[0, 1, 1, 1], [1, 0, 0, 0]]])
    inputs = [spatial, target, torch.tensor([1])]
    expected = values_and_gradients(reference.spatial_loss, inputs)
    with use_backend(backend):
        actual = values_and_gradients(ops.spatial_loss, inputs)
    assert_same(actual[0], expected[0], tolerance=1e-6)
    assert_same(actual[1], expected[1], tolerance=1e-6)


@pytest.mark.parametrize("case", LSTM_CASES.values(), ids=LSTM_CASES.keys())
def test_lstm_cells(case: LstmCase, backend):
    check_against_reference(ops.lstm_cells, reference.lstm_cells, case.inputs(), backend)


@pytest.mark.parametrize("which", [w for n in (1, 2) for w in itertools.combinations(range(4), n)])
def test_lstm_cells_when_some_states_are_used(which, backend):
    check_against_reference(ops.lstm_cells, reference.lstm_cells, LstmCase().inputs(), backend, which)


def test_lstm_cells_are_two_steps_of_torchs_lstms():
    word, *states, a, b, c, d, e, f, g, h = LstmCase().inputs()
    bottom, top = torch.nn.LSTMCell(4, 6).double(), torch.nn.LSTMCell(6, 6).double()
    for cell, weights in ((bottom, (a, b, c, d)), (top, (e, f, g, h))):
        for own, weight in zip(cell.parameters(), weights, strict=True):
            own.data.copy_(weight)
    first = bottom(word, (states[0], states[1]))
    expected = (*first, *top(first[0], (states[2], states[3])))
    assert_same(ops.lstm_cells(word, *states, a, b, c, d, e, f, g, h), expected)


def test_lstm_cells_refuse_a_wrong_shape_by_name():
    inputs = LstmCase().inputs()
    names = list(inspect.signature(ops.lstm_cells).parameters)
    for i, name in enumerate(names[1:], start=1):
        changed = [x[..., None].expand(*x.shape, 2) if i == j else x for j, x in enumerate(inputs)]
        with pytest.raises(ValueError, match=f"lstm_cells: {name} has shape"):
            ops.lstm_cells(*changed)
    with pytest.raises(TypeError, match="top_cell has dtype torch.float32, expected torch.float64"):
        ops.lstm_cells(*inputs[:4], inputs[4].float(), *inputs[5:])


@pytest.mark.parametrize("relative", [False, True])
def test_gradcheck_of_the_encoder(relative):
    case = EncoderCase(B=2, T=3, D=2, half=2)
    encoder = functools.partial(ops.part_encoder, parts=case.parts, relative=relative)
    assert torch.autograd.gradcheck(encoder, floats(case.inputs()))


@pytest.mark.parametrize("S", [1, 6])
def test_opcheck_of_attention(S, backend):
    inputs = floats(AttentionCase(S=S).inputs())
    torch.library.opcheck(torch.ops.m2t_fast.spatio_temporal_attention, (*inputs, 1.0, True, backend))


def test_opcheck_of_the_gate(backend):
    torch.library.opcheck(torch.ops.m2t_fast.gated_decoder_step, (*floats(GateCase().inputs()), None, backend))


def test_opcheck_of_the_encoder(backend):
    case = EncoderCase()
    joints = [j for part in case.parts for j in (*part, -1)]
    for relative in (False, True):
        arguments = (*floats(case.inputs()), joints, relative, backend)
        torch.library.opcheck(torch.ops.m2t_fast.part_encoder, arguments)


@pytest.mark.parametrize("S", [1, 6])
def test_opcheck_of_keys(S, backend):
    torch.library.opcheck(torch.ops.m2t_fast.attention_keys, (*floats(KeysCase(S=S).inputs()), backend))


def test_opcheck_of_the_spatial_loss(backend):
    torch.library.opcheck(torch.ops.m2t_fast.spatial_loss, (*floats(LossCase().inputs()), backend))


def test_opcheck_of_lstm_cells(backend):
    torch.library.opcheck(torch.ops.m2t_fast.lstm_cells, (*floats(LstmCase().inputs()), True, backend))


def test_opcheck_of_the_range_check():
    torch.library.opcheck(torch.ops.m2t_fast.checked_range, (torch.tensor([1, 2]), 0, 5, "x"))


ATTENTION_ARGUMENTS = [
    "parts", "temporal_keys", "spatial_keys", "temporal_query", "spatial_query", "temporal_weight", "spatial_weight",
    "spatial_bias", "lengths",
]  # fmt: skip


@pytest.mark.parametrize("name", ATTENTION_ARGUMENTS)
def test_attention_refuses_a_wrong_shape_by_name(name):
    inputs = dict(zip(ATTENTION_ARGUMENTS, AttentionCase().inputs(), strict=True))
    inputs[name] = inputs[name][..., None].expand(*inputs[name].shape, 2)
    # parts come first, so their letters fit anything; every other argument must fit them.
    with pytest.raises(ValueError, match=r"has shape \(.*expected \(|has S="):
        ops.spatio_temporal_attention(**inputs)


@pytest.mark.parametrize("lengths", [[0, 1], [9, 10], [-1, 3]])
def test_attention_refuses_lengths_out_of_range(lengths):
    inputs = AttentionCase().inputs()
    inputs[8] = torch.tensor(lengths)
    with pytest.raises(ValueError, match=r"lengths\[\d\] is -?\d+, expected 1 to 9"):
        ops.spatio_temporal_attention(*inputs)


def test_attention_refuses_other_dtypes_by_name():
    inputs = AttentionCase().inputs()
    with pytest.raises(TypeError, match="spatial_query has dtype torch.float32, expected torch.float64"):
        ops.spatio_temporal_attention(*inputs[:4], inputs[4].float(), *inputs[5:])
    with pytest.raises(TypeError, match="lengths must be an int64 tensor, got torch.float32"):
        ops.spatio_temporal_attention(*inputs[:8], inputs[8].float())
    with pytest.raises(TypeError, match="parts must be a tensor, got list"):
        ops.spatio_temporal_attention([], *inputs[1:])


@pytest.mark.parametrize("force", [-0.1, 1.5, float("nan")])
def test_gate_refuses_a_forced_gate_out_of_range(force):
    with pytest.raises(ValueError, match="force_gate"):
        ops.gated_decoder_step(*GateCase().inputs(), force_gate=force)


def test_encoder_refuses_a_joint_that_does_not_exist():
    case = EncoderCase()
    with pytest.raises(ValueError, match="joint 9, expected 0 to 4"):
        ops.part_encoder(*case.inputs(), parts=((0,), (0, 9), (1, 2, 4)))


@pytest.mark.parametrize("call", ["checked", "in bounds", "registered"])
def test_encoder_takes_no_parts_for_those_that_it_has_checked(call):
    """Its weights have rows for six joints in three parts, and no memory beyond."""

    def run(*parts):
        inputs = EncoderCase().inputs()
        if call == "registered":
            flat = [joint for part in parts for joint in (*part, -1)]
            torch.ops.m2t_fast.part_encoder(*inputs, flat, False, "auto")
        else:
            (ops.part_encoder if call == "checked" else ops.part_encoder.in_bounds)(*inputs, parts)

    run((0,), (0, 3), (1, 2, 4))
    run((0, 1, 3), (2,), (3, 4))
    for parts in (
        [(0,), (0, 3), (1, 2)],
        [(0, 3), (1, 2, 4, 3)],
        [(0,), (0, 3), (1, 2), (4,)],
        [(0,), (0, 5), (1, 2, 4)],
    ):
        with pytest.raises(ValueError, match="part_encoder: (weight1|bias1) has shape|joint 5, expected 0 to 4"):
            run(*parts)


@pytest.mark.parametrize("S", [1, 6])
def test_the_context_alone(S, backend):
    inputs = AttentionCase(S=S, B=3, T=40, sharp=20.0).inputs()
    expected = reference.spatio_temporal_attention(*inputs, 0.5).context
    with use_backend(backend):
        assert_same([ops.spatio_temporal_context(*inputs, 0.5)], [expected])
        torch.library.opcheck(torch.ops.m2t_fast.spatio_temporal_context, (*inputs, 0.5, backend))
