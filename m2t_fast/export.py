"""A captioner as one file for other programs: torch.export's (.pt2) or ONNX (.onnx), in torch's own operations.

What is exported are the equations of ``m2t_fast.reference``, so that whoever loads the file needs no m2t_fast. Batch,
frames and words may have any size. ``torch.export.export`` of a :class:`~m2t_fast.Captioner` itself works as well: its
program calls the kernels and needs ``import m2t_fast.ops`` where it is loaded.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.export import Dim, ExportedProgram

from m2t_fast.captioner import Captioner
from m2t_fast.config import EOS, MAX_LENGTH, PAD, SOS
from m2t_fast.errors import UserError
from m2t_fast.files import atomic_path, write_bytes
from m2t_fast.layers import LayerDecoder
from m2t_fast.ops.checks import wide
from m2t_fast.ops.registry import AUTOGRAD, use_backend
from m2t_fast.run_folder import CONFIG, VOCABULARY, Run

FORWARD_OUTPUTS = ("logits", "gate", "window", "spatial", "mean", "std", "gate_logit")
"""What a program gives for known words: the fields of :class:`~m2t_fast.CaptionerOutput`."""
GREEDY_OUTPUTS = ("words", "score", "gate", "window", "spatial", "mean", "std")
"""What a program gives that finds the words itself."""
SUFFIXES = (".pt2", ".onnx")


class KnownWords(nn.Module):
    """A captioner's forward pass as a dict of tensors."""

    def __init__(self, model: Captioner):
        super().__init__()
        self.model = model

    def forward(self, motion: Tensor, lengths: Tensor, tokens: Tensor) -> dict[str, Tensor]:
        """Motion (B, T, J, 3) standardised, lengths (B,), tokens (B, L+1): FORWARD_OUTPUTS of the L words."""
        _require_within("lengths", lengths, 1, motion.shape[1])
        _require_within("tokens", tokens, 0, self.model.config.vocab_size - 1)
        # The last word too, whose outputs are cut off: inductor lowers no loop whose length is a size less one.
        out = self.model.decode(self.model.encode(motion, lengths), tokens)
        return {name: getattr(out, name)[:, :-1] for name in FORWARD_OUTPUTS}


class GreedyWords(nn.Module):
    """A captioner's greedy captions as a dict of tensors. Every caption takes ``max_length`` steps."""

    def __init__(self, model: Captioner, max_length: int = MAX_LENGTH):
        super().__init__()
        self.model, self.max_length = model, max_length

    def forward(self, motion: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Greedy captions.

        Args:
            motion: (B, T, J, 3), standardised. lengths: (B,) int64 valid frames.

        Returns:
            GREEDY_OUTPUTS: words (B, max_length) without <sos>, <pad> after <eos>; score (B,), log-probability per
            word; and where each word looked (B, max_length, ...), 0 after the caption's end.
        """
        _require_within("lengths", lengths, 1, motion.shape[1])
        batch, size = motion.shape[0], self.model.config.hidden_size
        memory = self.model.encode(motion, lengths)
        decoder = LayerDecoder(self.model)

        def step(carried: tuple[Tensor, ...], _: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
            word, going, *states = carried
            embedded = decoder.embed(word[:, None])
            before = (states[0], states[1]), (states[2], states[3])
            hidden, top, (bottom_state, top_state) = decoder.run_lstms(embedded, before)
            attended, gated = decoder.look(memory, hidden, top, embedded, embedded)
            log_probability, likeliest = wide(self.model.output(gated.features)[:, 0]).log_softmax(-1).max(-1)
            word = torch.where(going, likeliest, PAD).reshape(batch)  # naming the batch, as in m2t_fast.ops.torch_lstm
            looked = gated.gate[:, 0], attended.window[:, 0], attended.spatial[:, 0], attended.mean[:, 0]
            inside = going, going[:, None], going[:, None, None], going
            seen = [torch.where(mask, x, 0) for mask, x in zip(inside, looked, strict=True)]
            found = word, torch.where(going, log_probability, 0), *seen, torch.where(going, attended.std[:, 0], 0)
            return (word.clone(), going & (likeliest != EOS), *bottom_state, *top_state), found

        start = torch.full_like(lengths, SOS)
        zeros = memory.parts.new_zeros(batch, size)
        carried = start, start == SOS, zeros, zeros.clone(), zeros.clone(), zeros.clone()
        _, found = scan(step, carried, torch.zeros(self.max_length, device=motion.device))
        words, log_probability, *seen = (x.transpose(0, 1) for x in found)
        score = log_probability.sum(1) / (words != PAD).sum(1)
        return dict(zip(GREEDY_OUTPUTS, (words, score, *seen), strict=True))


def _require_within(name: str, values: Tensor, low: int, high: Any) -> None:
    """A check of values, which the package reports by name, as an assertion that an exported program keeps."""
    torch._assert_async(((values >= low) & (values <= high)).all(), f"{name}: a value out of range")


def exported(model: Captioner, greedy: bool = False, max_length: int = MAX_LENGTH) -> ExportedProgram:
    """A captioner as a program of torch's own operations, with any batch, frames and words.

    Args:
        model: in evaluation mode; replaced layers (adapters, pruned ones) are exported as they compute.
        greedy: the program finds the words (:class:`GreedyWords`); else it reads them (:class:`KnownWords`).
        max_length: of greedy captions, in words.

    Raises:
        ValueError: the model is in training mode. What torch.export raises for layers that it cannot export.
    """
    if model.training:
        raise ValueError("model is in training mode, whose dropout has no place in a program: call model.eval()")
    model = copy.deepcopy(model).requires_grad_(False)  # a loop's gradients are not for a program that finds words
    weight = model._weight()
    motion = torch.zeros(3, 5, model.config.joints, 3, dtype=weight.dtype, device=weight.device)
    lengths = torch.tensor([5, 4, 1], device=weight.device)
    tokens = torch.full((3, 4), SOS, device=weight.device)
    batch, frames, words = Dim("batch"), Dim("frames"), Dim("words", min=2)
    sizes = {0: batch, 1: frames}, {0: batch}, {0: batch, 1: words}
    # Sizes of 0 and 1 are no special cases, which torch would refuse later.
    torch_config: Any = torch.fx.experimental._config
    oblivious = torch_config.patch(backed_size_oblivious=True)
    with torch.no_grad(), use_backend(AUTOGRAD), oblivious, _quiet():
        if greedy:
            return torch.export.export(GreedyWords(model, max_length), (motion, lengths), dynamic_shapes=sizes[:2])
        return torch.export.export(KnownWords(model), (motion, lengths, tokens), dynamic_shapes=sizes)


def check_file(path: Path) -> None:
    """Raise UserError for a name with another suffix, or for ONNX without the packages that write it."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}")
    if path.suffix == ".onnx":
        for package in ("onnx", "onnxscript"):
            if importlib.util.find_spec(package) is None:
                raise UserError(f'{package} is not installed: pip install "m2t_fast[onnx]"')


def write_export(run: Run, path: Path, greedy: bool = False, max_length: int = MAX_LENGTH) -> None:
    """Write a run's captioner as a .pt2 or .onnx file, with what a caller needs besides.

    The run folder's ``config.json`` (mean and standard deviation that standardise motions, the frames that are read)
    and ``vocabulary.json`` (words by number) go along: extra files of a .pt2 file, metadata of an .onnx file.

    Raises:
        UserError: another suffix, onnx and onnxscript are not installed, or the file cannot be written.
    """
    check_file(path)
    beside = {name: (run.folder / name).read_text("utf-8") for name in (CONFIG, VOCABULARY)}
    program = exported(run.model.eval(), greedy, max_length)
    if path.suffix == ".pt2":
        made = BytesIO()  # not the file itself: where the disk is full, torch's writer of archives ends the process
        torch.export.save(program, made, extra_files=beside)
        write_bytes(path, made.getbuffer())
        return
    with atomic_path(path) as temporary:
        _onnx(program, GREEDY_OUTPUTS if greedy else FORWARD_OUTPUTS, beside, temporary)


def _onnx(program: ExportedProgram, outputs: Sequence[str], beside: dict[str, str], path: Path) -> None:
    with _quiet():
        made = torch.onnx.export(program, output_names=outputs, dynamo=True, verbose=False)
    assert made is not None
    made.model.metadata_props.update(beside)
    made.save(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' own warnings and log lines: deprecations in torch, packages they could use."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
