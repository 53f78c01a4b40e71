"""Every op of the table on every backend, from its declaration alone: values, gradients, registration, refusals."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest
import torch
from support import assert_hidden_may_be_top
from torch.autograd import forward_ad

from m2t_fast import numerics, ops, records, use_backend
from m2t_fast.ops import registry
from m2t_fast.ops.cases import CASES, AttentionCase, GuidedCase, KeysCase
from m2t_fast.ops.registry import available_backends
from m2t_fast.records import Index, converted, fields

OPS = registry.OPS
TENSORS = [(op, f.name) for op in CASES for f in OPS[op].fields if f.kind is not None]


def first_case(op: str) -> Any:
    return next(iter(CASES[op].values())).record()


def on_meta(op: str, name: str) -> Any:
    x = first_case(op)
    return x._replace(**{name: getattr(x, name).to("meta")})


def test_every_op_of_a_backend_is_in_the_table_of_ops() -> None:
    assert set(CASES) <= set(OPS)
    assert {op for op in OPS if op not in CASES} == {
        "random_draws",
        "sample_words",
        "search",
        "spatio_temporal_context",
    }  # fmt: skip  (whose inputs are no cases: tests of their own)
    assert all(callable(getattr(ops, op)) for op in OPS)


@pytest.mark.parametrize("op", CASES)
def test_opcheck(op: str, backend: str) -> None:
    x = first_case(op)
    x = x._replace(**{name: getattr(x, name).requires_grad_() for name in OPS[op].gradients})
    keep = [True] if op in ("spatio_temporal_attention", "guided_attention", "lstm_cells") else []
    torch.library.opcheck(getattr(torch.ops.m2t_fast, op), (*OPS[op]._packing.pack(x), *keep, backend))


def small_case(op: str) -> Any:
    """The first case in the smallest sizes in which no two neighbours of a sum are one."""
    case = first = next(iter(CASES[op].values()))
    if isinstance(case, GuidedCase):
        first = case.case
    sizes = {"T": 3, "S": 2 if getattr(first, "S", 1) > 1 else 1, **dict.fromkeys("BLHDCE", 2), "half": 2}
    if hasattr(first, "P"):
        sizes["P"] = 2
    own = {field.name: sizes[field.name] for field in dataclasses.fields(first) if field.name in sizes}
    made = dataclasses.replace(first, **own)
    return (GuidedCase(made) if isinstance(case, GuidedCase) else made).record()


@pytest.mark.parametrize("op", [op for op in CASES if OPS[op].differentiable])
def test_gradcheck(op: str) -> None:
    x, names = small_case(op), OPS[op].gradients

    def of_floats(*floats: torch.Tensor) -> Any:
        return OPS[op](*x._replace(**dict(zip(names, floats, strict=True))))

    assert torch.autograd.gradcheck(of_floats, [getattr(x, name).requires_grad_() for name in names])


@pytest.mark.parametrize("op", CASES)
def test_autograd_is_the_reference_itself(op: str) -> None:
    x = first_case(op)
    expected = OPS[op].reference(*x)
    with use_backend(registry.AUTOGRAD):
        found = OPS[op](*x)
    pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(("op", "name"), TENSORS, ids=str)
def test_a_tensor_of_another_shape_is_refused_by_name(op: str, name: str) -> None:
    x = first_case(op)
    value = getattr(x, name)
    wrong = x._replace(**{name: value[..., None].expand(*value.shape, 2)})
    for call in (OPS[op], OPS[op].in_bounds):
        with pytest.raises(ValueError, match=rf"^{op}: {name} has shape \(.*\), expected \("):
            call(*wrong)


@pytest.mark.parametrize(("op", "name"), [(op, n) for op, n in TENSORS if n != OPS[op].fields[0].name], ids=str)
def test_a_tensor_on_another_device_is_refused_by_name(op: str, name: str) -> None:
    for call in (OPS[op], OPS[op].in_bounds):
        with pytest.raises(ValueError, match=f"^{op}: {name} is on meta, expected cpu as"):
            call(*on_meta(op, name))


@pytest.mark.parametrize(("op", "name"), [(o, n) for o, n in TENSORS if n in OPS[o].gradients], ids=str)
def test_another_dtype_is_refused_by_name(op: str, name: str) -> None:
    x = first_case(op)
    wrong = x._replace(**{name: getattr(x, name).long()})
    with pytest.raises(TypeError, match=f"^{op}: {name} has dtype torch.int64, expected a floating dtype"):
        OPS[op](*wrong)


@pytest.mark.parametrize(
    ("op", "name"),
    [(op, f.name) for op in CASES for f in fields(OPS[op].inputs) if isinstance(f.kind, Index)],
    ids=str,
)
@pytest.mark.parametrize("value", [-1, 10**12])
def test_an_index_out_of_bounds_is_refused_by_name(op: str, name: str, value: int) -> None:
    x = first_case(op)
    with pytest.raises(ValueError, match=rf"^{op}: {name}\[0\] is {value}, expected"):
        OPS[op](*x._replace(**{name: torch.full_like(getattr(x, name), value)}))


@pytest.mark.parametrize("op", [op for op in CASES if OPS[op].differentiable])
def test_a_forward_mode_tangent_raises(op: str) -> None:
    x = first_case(op)
    name = OPS[op].gradients[0]
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(getattr(x, name), torch.ones_like(getattr(x, name)))
        with pytest.raises(NotImplementedError, match=f"^{op}: an input carries a forward-mode tangent"):
            OPS[op](*x._replace(**{name: dual}))


@pytest.mark.parametrize("op", [op for op in CASES if op != "gather_motions"])  # it reads values
def test_the_public_call_compiles_to_one_graph(op: str) -> None:
    x = first_case(op)
    expected = OPS[op](*x)
    torch.compiler.reset()  # every op compiles the same lambda: the other ops' graphs count towards its limit of eight
    found = torch.compile(lambda *given: OPS[op](*given), fullgraph=True, backend="aot_eager")(*x)
    pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", [*available_backends(), registry.AUTOGRAD])
def test_one_tensor_as_hidden_and_top(name: str) -> None:
    with use_backend(name):
        assert_hidden_may_be_top(torch.float64, 1e-10)


def test_the_signature_and_the_documentation_are_the_record_s() -> None:
    for op in OPS.values():
        assert list(inspect.signature(op).parameters) == [f.name for f in op.fields]
        assert "Raises:" in op.__doc__ and op.__doc__.splitlines()[0].endswith(".")


def test_why_a_backend_does_not_run_an_op() -> None:
    x = converted(AttentionCase().record(), lambda v: v)
    assert registry.why_not("spatio_temporal_attention", "reference", x) is None
    absent = [name for name in registry.BACKENDS if registry.why_unavailable(name)]
    for name in absent:
        assert registry.why_not("spatio_temporal_attention", name, x) == registry.why_unavailable(name)
    if registry.why_unavailable("cpu") is None:
        assert registry.why_not("lstm_cells", "cpu") == "it has no kernel for this op"
        gathered = first_case("gather_motions")._replace()
        short = converted(gathered, lambda v: v.bfloat16() if v.is_floating_point() else v)
        assert "bfloat16" in str(registry.why_not("gather_motions", "cpu", short))


def test_validate_compares_what_the_table_holds() -> None:
    assert set(numerics.OPS) == set(CASES)


def test_shapes_that_were_checked_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    op = OPS["attention_keys"]
    monkeypatch.setattr(records, "REMEMBERED", 4)
    monkeypatch.setattr(op, "_fitting", set())
    for T in range(1, 8):
        x = KeysCase(T=T).record()
        x = x._replace(**{name: getattr(x, name).requires_grad_() for name in op.gradients})
        sum(op(*x)).sum().backward()
        assert 1 <= len(op._fitting) <= 4
