"""What is registered with torch: as ``torch.library.custom_op`` registers it, without torch's compiler."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from m2t_fast.ops.registration import assume_constant_result, register

NAME = "for_the_test"


@pytest.fixture
def registered() -> Iterator[Callable[..., Any]]:
    """Registers an op of one tensor, which is taken out again."""

    def of(function: Callable[[Tensor], Any], schema: str = "(Tensor x) -> Tensor", **formula: Any) -> Any:
        return register(NAME, function, lambda x: torch.empty_like(x), **formula, schema=schema)

    yield of
    from torch._library.custom_ops import OPDEF_TO_LIB

    OPDEF_TO_LIB.pop(f"m2t_fast::{NAME}")._destroy()


@pytest.mark.parametrize(
    "outputs",
    [lambda x: x, lambda x: x[1:], lambda x: (x.clone(), x.view(-1)), lambda x: (made := x.clone(), made[:1])],
    ids=["the argument", "a part of it", "a view of it", "one another"],
)
def test_outputs_that_share_memory_are_refused(registered: Callable[..., Any], outputs: Callable[..., Any]) -> None:
    several = isinstance(outputs(torch.ones(3)), tuple)
    op = registered(outputs, "(Tensor x) -> (Tensor, Tensor)" if several else "(Tensor x) -> Tensor")
    with pytest.raises(RuntimeError, match=f"^{NAME}: an output shares memory"):
        op(torch.ones(3))


def test_an_op_is_as_torchs_own_would_be(registered: Callable[..., Any]) -> None:
    def double(x: Tensor) -> Tensor:
        return 2 * x

    theirs = torch.library.custom_op("m2t_fast_test::theirs", double, mutates_args=())
    theirs.register_fake(torch.empty_like)
    theirs.register_autograd(lambda ctx, grad: 2 * grad)
    ours = registered(double, backward=lambda ctx, grad: 2 * grad)
    assert str(ours._schema).partition("(")[2] == str(theirs._opoverload._schema).partition("(")[2]
    assert ours.tags == theirs._opoverload.tags
    for key in ("CompositeExplicitAutograd", "Autograd", "Meta", "ADInplaceOrView", "CPU"):
        has = torch._C._dispatch_has_kernel_for_dispatch_key
        assert has(ours.name(), key) == has(theirs._opoverload.name(), key), key
    torch.library.opcheck(ours, (torch.randn(3, requires_grad=True),))
    torch.compile(lambda x: ours(x) + 1, fullgraph=True, backend="aot_eager")(torch.ones(3))


def test_an_op_without_a_gradient_says_so(registered: Callable[..., Any]) -> None:
    op = registered(torch.clone)
    with pytest.raises(NotImplementedError, match=f"^{NAME}: its gradient was asked for"):
        op(torch.ones(3, requires_grad=True)).sum().backward()


def test_a_module_may_be_loaded_again(registered: Callable[..., Any]) -> None:
    assert registered(torch.clone)(torch.ones(1)).item() == 1
    assert registered(lambda x: 2 * x)(torch.ones(1)).item() == 2


def test_the_compiler_does_not_look_into_an_op(registered: Callable[..., Any]) -> None:
    """Where nothing but C++ stands between an op and code that the compiler left alone."""

    def inner(x: Tensor) -> Tensor:
        return torch.sin(x) + 1

    def graphs(function: Callable[..., Any]) -> int:
        counter = CompileCounter()
        straight = torch.compiler.disable(lambda x: next(map(function, [x])), recursive=False)
        around = torch.compiler.disable(lambda x: straight(x), recursive=False)
        torch.compile(around, backend=counter)(torch.ones(3))
        return int(counter.frame_count)

    assert graphs(registered(inner)) == 0 and graphs(inner) == 1


def test_the_mark_of_a_constant_is_what_torch_sets() -> None:
    def answer() -> int:
        return 1

    def other() -> int:
        return 1

    assert vars(assume_constant_result(answer)) == vars(torch.compiler.assume_constant_result(other)) != {}
    assert assume_constant_result(answer) is answer


def test_a_caption_and_a_gradient_do_without_torchs_compiler() -> None:
    script = """
import sys
import torch
from m2t_fast import Captioner, CaptionerConfig
with torch.device("meta"):  # as a run is opened
    Captioner(CaptionerConfig(vocab_size=9))
model = Captioner(CaptionerConfig(vocab_size=9))
motion, lengths = torch.zeros(1, 5, 22, 3), torch.tensor([5])
model.generate(motion, lengths, max_length=2)
model(motion, lengths, torch.tensor([[1, 4, 2]])).logits.sum().backward()
print(*sys.modules)
"""
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "m2t_fast.captioner" in loaded
    assert not [module for module in loaded if module.startswith(("torch._dynamo", "torch._inductor"))]
