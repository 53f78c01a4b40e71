"""The accelerated module against a stand-in's own forward and against the recordings of the released model."""

from __future__ import annotations

import copy
import io
import pickle
import random

import pytest
import torch
import torch.nn.utils.prune
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from m2t_fast import accelerate, available_backends, released, use_backend

ATTRIBUTES = ("beta", "spatial_attentions", "temporal_attentions", "spat_temp", "dec_output")
WORDS = ("dec_pred_output", "dec_next_input")


@pytest.fixture(autouse=True, params=available_backends())
def on_every_backend(request):
    with use_backend(request.param):
        yield


def losses(model, logits: Tensor, y: Tensor, gates: Tensor, alphas: Tensor) -> Tensor:
    """A training script's loss on what the forward leaves: gates (N, L), alphas (L, T, N, 6), -1: no target."""
    adapt = nn.functional.binary_cross_entropy(model.beta.T, gates.clamp(min=0), reduction="none")
    adapt = adapt.masked_fill(gates == -1, 0)
    spat = nn.functional.binary_cross_entropy(model.spatial_attentions, alphas.clamp(min=0), reduction="none")
    spat = spat.masked_fill(alphas == -1, 0)
    language = nn.functional.cross_entropy(logits.permute(1, 2, 0), y[1:].T, ignore_index=0)
    return language + 3 * adapt.sum() / adapt.count_nonzero() + 2 * spat.sum() / spat.count_nonzero()


def run(model, inputs, ratio: float, seed: int = 3) -> tuple[Tensor, float, Tensor]:
    """Logits, the next coin and the next number of torch after a forward and a backward from one seed."""
    x, y, lengths = inputs
    random.seed(seed)
    torch.manual_seed(seed)
    logits = model(x, y, teacher_force_ratio=ratio, src_lens=lengths)
    g = torch.Generator().manual_seed(0)
    gates = torch.randint(-1, 2, (y.shape[1], len(y) - 1), generator=g).to(x)
    alphas = torch.randint(-1, 2, (len(y) - 1, 1, y.shape[1], 6), generator=g).expand(-1, len(x), -1, -1).to(x)
    total = losses(model, logits, y, gates, alphas) + model.spat_temp.square().sum() + model.temporal_attentions.sum()
    total.backward()
    return logits, random.random(), torch.rand(1)


def close(actual: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    assert actual.shape == expected.shape and actual.dtype == expected.dtype, what
    actual, expected = actual.detach(), expected.detach()
    error = float((actual - expected).abs().max()) / max(1.0, float(expected.abs().max()))
    assert error <= tolerance, f"{what}: {error:.3g}"


def same_attributes(model, own, tolerance: float) -> None:
    for name in ATTRIBUTES:
        close(getattr(model, name), getattr(own, name), tolerance, name)
        assert getattr(model, name).is_contiguous(), name
    for name in WORDS:
        assert torch.equal(getattr(model, name), getattr(own, name)), name
    assert len(model.output_list) == len(own.output_list)
    for step, expected in zip(model.output_list, own.output_list, strict=True):
        close(step, expected, tolerance, "output_list")
    assert model.target_and_prediction[0] is own.target_and_prediction[0]
    assert torch.equal(model.target_and_prediction[1], own.target_and_prediction[1])
    assert model.src_lens == own.src_lens and model.attention_weights_list == own.attention_weights_list
    assert set(vars(model)) == set(vars(own))


def same_gradients(model, own, tolerance: float) -> None:
    for (name, parameter), expected in zip(model.named_parameters(), own.parameters(), strict=True):
        if expected.grad is None:
            assert parameter.grad is None, name
        else:
            close(parameter.grad, expected.grad, tolerance, name)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("ratio", [0, 0.5, 1])
def test_equal_to_its_own_forward(random_model, ratio, training):
    """Also the dropout masks: both draw them in the same order from torch's generator."""
    own, inputs = random_model
    model = accelerate(copy.deepcopy(own))
    own.train(training), model.train(training)
    expected = run(own, inputs, ratio)
    found = run(model, inputs, ratio)
    close(found[0], expected[0], 1e-10, "logits")
    assert found[0].is_contiguous()
    assert found[1] == expected[1], "another number of coins"
    assert torch.equal(found[2], expected[2]), "another number of dropout masks"
    same_attributes(model, own, 1e-10)
    same_gradients(model, own, 1e-9)
    assert float(model.temporal_att.bias.grad) == 0.0 and model.feat_extract_henc.weight.grad is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the fixture is a class
@given(
    joints=st.sampled_from([21, 22]),
    sizes=st.tuples(*[st.integers(1, 9)] * 3),
    lengths=st.lists(st.integers(2, 17), min_size=1, max_size=6),
    steps=st.integers(1, 9),
    vocabulary=st.integers(5, 40),
    dropout=st.sampled_from([0.0, 0.3, 1.0]),
    ratio=st.sampled_from([0, 0.5, 1]),
    seed=st.integers(0, 1000),
)
def test_equal_for_all_sizes(stand_in, joints, sizes, lengths, steps, vocabulary, dropout, ratio, seed):
    torch.manual_seed(seed)
    half, embedding_dim, hidden_dim = sizes
    own = stand_in(vocabulary, 2 * half, embedding_dim, hidden_dim, joints, dropout).double()
    x = torch.randn(max(lengths), len(lengths), 3 * joints, dtype=torch.float64)
    y = torch.randint(1, vocabulary, (steps + 1, len(lengths)))
    model = accelerate(copy.deepcopy(own))
    expected, found = run(own, (x, y, lengths), ratio, seed), run(model, (x, y, lengths), ratio, seed)
    close(found[0], expected[0], 1e-9, "logits")
    assert found[1:] == expected[1:]
    same_attributes(model, own, 1e-9)
    for (name, parameter), other in zip(model.named_parameters(), own.parameters(), strict=True):
        if other.grad is not None and other.grad.isfinite().all():
            close(parameter.grad, other.grad, 1e-7, name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("ratio", [0.5, 1])
def test_equal_to_its_own_forward_on_a_gpu(random_model, ratio):
    own, (x, y, lengths) = random_model
    model = accelerate(copy.deepcopy(own))
    own.cuda(), model.cuda()
    inputs = x.cuda(), y.cuda(), lengths
    with use_backend("auto"):
        expected, found = run(own, inputs, ratio), run(model, inputs, ratio)
        close(found[0], expected[0], 1e-10, "logits")
        same_attributes(model, own, 1e-10)
        same_gradients(model, own, 1e-9)
        own.eval().beam_size = model.eval().beam_size = 3
        assert model(*inputs[:2], src_lens=lengths) == own(*inputs[:2], src_lens=lengths)


@pytest.mark.parametrize("group", ["", "eq/"])
def test_the_recorded_outputs_and_every_gradient(recorded, group):
    model = accelerate(recorded.model())
    x, y, lengths = recorded.inputs(group)
    logits = model(x, y, teacher_force_ratio=1, src_lens=lengths)
    tolerance = 1e-5 if recorded.dtype == torch.float32 else 1e-10
    for name, value in {
        "logits": logits,
        "beta": model.beta,
        "spatial_attentions": model.spatial_attentions,
        "temporal_attentions": model.temporal_attentions,
    }.items():
        close(value, recorded(f"{group}out/{name}"), tolerance, name)
    assert torch.equal(model.dec_pred_output, recorded(f"{group}out/pred"))
    gates = recorded("gates")[:, 1:].to(x.dtype)
    alphas = recorded("alphas")[:, 1:].expand(len(x), -1, -1, -1).permute(2, 0, 1, 3).to(x.dtype)
    loss = losses(model, logits, y, gates, alphas)
    close(loss, recorded(f"{group}out/loss"), tolerance, "loss")
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    recorded_names = {k[len(f"{group}g/") :] for k in recorded.arrays.files if k.startswith(f"{group}g/")}
    assert set(gradients) == recorded_names
    scale = max(1.0, *(float(recorded(f"{group}g/{name}").abs().max()) for name in gradients))
    for name, gradient in gradients.items():
        close(gradient / scale, recorded(f"{group}g/{name}") / scale, tolerance, name)


def test_the_recorded_coins_and_the_recorded_greedy_words(recorded):
    model = accelerate(recorded.model())
    x, y, lengths = recorded.inputs()
    tolerance = 1e-5 if recorded.dtype == torch.float32 else 1e-10
    random.seed(7)
    close(model(x, y, 0.5, lengths), recorded("mix/out/logits"), tolerance, "mixed")
    assert torch.equal(model.dec_pred_output, recorded("mix/out/pred"))
    longer = torch.zeros(len(recorded("greedy/out/pred")), y.shape[1], dtype=torch.int64)
    with torch.no_grad():
        close(model(x, longer, src_lens=lengths), recorded("greedy/out/logits"), tolerance, "greedy")
    assert torch.equal(model.dec_pred_output, recorded("greedy/out/pred"))


@pytest.mark.parametrize("width", [2, 4])
def test_the_recorded_beams(recorded, width):
    x, y, lengths = recorded.inputs()
    for bias, added in enumerate(recorded("beam/eos_bias_added").tolist()):
        model = recorded.model()
        with torch.no_grad():
            changed = model.final_layer.bias.float()
            changed[2] += added
            model.final_layer.bias.copy_(changed)
        model = accelerate(model.eval())
        model.beam_size = width
        for n, hypotheses in enumerate(model(x, y, src_lens=lengths)):
            group = f"beam/W{width}/b{bias}/s{n}"
            expected = [
                words[:length].tolist()
                for words, length in zip(recorded(f"{group}/hyps"), recorded(f"{group}/hyp_lens"), strict=True)
            ]
            assert hypotheses == expected


def test_beams_and_coins_of_its_own_search(random_model):
    own, (x, y, lengths) = random_model
    own.eval().beam_size = 3
    model = accelerate(copy.deepcopy(own))
    coins = []
    for one in (own, model):
        random.seed(2)
        coins.append((one(x, y, src_lens=lengths), random.random()))
    assert coins[0] == coins[1]
    for name in ATTRIBUTES[:3]:
        assert torch.equal(getattr(model, name), getattr(own, name))
    assert model.x is x and set(vars(model)) == set(vars(own))


def test_a_search_in_training_mode_drops_as_its_own_for_one_sample(random_model):
    own, (x, y, lengths) = random_model
    own.beam_size = 2
    model = accelerate(copy.deepcopy(own))
    found = []
    for one in (own, model):
        torch.manual_seed(2)
        found.append(one(x[:, :1], y[:, :1], src_lens=lengths[:1]))
    assert found[0] == found[1]


def test_its_training_goes_the_same_way(random_model):
    """An optimiser built before and one built after; weights stay equal over steps."""
    own, inputs = random_model
    x, y, lengths = inputs
    model = copy.deepcopy(own)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.1)
    accelerate(model)
    theirs = torch.optim.AdamW(own.parameters(), lr=5e-3, weight_decay=0.1)
    for step in range(6):
        if step == 3:
            optimiser, old = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.1), optimiser
            optimiser.load_state_dict(old.state_dict())
        for one, optim in ((own, theirs), (model, optimiser)):
            optim.zero_grad()
            run(one, inputs, 0.5, seed=step)
            nn.utils.clip_grad_norm_(one.parameters(), 1)
            optim.step()
    for (name, parameter), expected in zip(model.named_parameters(), own.parameters(), strict=True):
        # Their gradient of this bias, which cancels, is rounding noise, and AdamW makes steps of it.
        if name != "temporal_att.bias":
            close(parameter, expected, 1e-6, name)


def test_parameters_and_keys_stay_what_they_are(random_model):
    model, _ = random_model
    parameters, state = list(model.parameters()), model.state_dict()
    assert accelerate(model) is model and accelerate(model) is model
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert list(model.state_dict()) == list(state)


def logits_of(model, inputs) -> Tensor:
    x, y, lengths = inputs
    with torch.no_grad():
        return model(x, y, 1, lengths)


@pytest.mark.parametrize("after_a_step", [False, True])
@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_copies_and_files(random_model, stand_in, how, after_a_step):
    own, inputs = random_model
    model = accelerate(own)
    if after_a_step:
        run(model, inputs, 0.5)
        beta = model.beta
        assert beta.requires_grad
    model.eval()
    if how == "deepcopy":
        other = copy.deepcopy(model)
    elif how == "pickle":
        other = pickle.loads(pickle.dumps(model))
    else:
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    assert isinstance(other, stand_in) and type(other) is type(model) and type(other).__name__ == stand_in.__name__
    if after_a_step:
        assert model.beta is beta and torch.equal(other.beta, beta) and not other.beta.requires_grad
    assert torch.equal(logits_of(other, inputs), logits_of(model, inputs))
    with torch.no_grad():
        other.final_layer.weight.zero_()
    assert not torch.equal(logits_of(other, inputs), logits_of(model, inputs)), "the copy shares weights"


def test_weights_that_are_loaded_or_changed_afterwards_are_used(random_model, stand_in):
    own, inputs = random_model
    model = accelerate(stand_in(23, 10, 7, 9, len(inputs[0][0, 0]) // 3, dropout=0.4).double()).eval()
    model.load_state_dict(own.state_dict())
    close(logits_of(model, inputs), logits_of(own.eval(), inputs), 1e-10, "loaded")
    x, y, lengths = inputs
    model.float(), own.float()
    close(logits_of(model, (x.float(), y, lengths)), logits_of(own, (x.float(), y, lengths)), 1e-5, "float")


def test_gradients_reach_the_motion(random_model):
    own, (x, y, lengths) = random_model
    own.eval()
    found = []
    for one in (own, accelerate(copy.deepcopy(own))):
        leaf = x.clone().requires_grad_()
        one(leaf, y, 1, lengths).square().sum().backward()
        found.append(leaf.grad)
    for n, length in enumerate(lengths):
        close(found[1][:length, n], found[0][:length, n], 1e-9, "x")


@pytest.mark.parametrize("kind", [tuple, torch.tensor])
def test_lengths_of_any_kind(random_model, kind):
    model, (x, y, lengths) = random_model
    model = accelerate(model).eval()
    assert torch.equal(model(x, y, 1, kind(lengths)), model(x, y, 1, lengths))


def test_autocast_leaves_it_in_the_dtype_of_its_weights(random_model):
    model, (x, y, lengths) = random_model
    model = accelerate(model.float()).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = model(x.float(), y, 1, lengths)
    assert torch.equal(inside, model(x.float(), y, 1, lengths))


def test_a_motion_of_one_frame_is_finite_where_the_released_one_is_not(random_model):
    own, (x, y, _) = random_model
    model = accelerate(copy.deepcopy(own))
    logits, *_ = run(model, (x, y, [11, 1, 8, 2, 11]), 0.5)
    assert logits.isfinite().all() and all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert not own(x, y, 1, [11, 1, 8, 2, 11]).isfinite().all()


class Odd(nn.Linear):
    """A layer that may do anything."""


def _replace(name, layer):
    return lambda m: setattr(m, name, layer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: delattr(m, "gate_var"), "tensor gate_var.weight is missing"),
        (lambda m: m.register_buffer("extra", torch.zeros(1)), "unknown tensor extra"),
        (lambda m: setattr(m.dec, "top_lstm", nn.LSTM(10, 10, num_layers=2)), "unknown tensor dec.top_lstm.*l1"),
        (_replace("ctproject", nn.Linear(10, 8)), r"ctproject.weight has shape \(8, 10\), expected \(9, 10\)"),
        (_replace("ctproject", Odd(10, 9)), "ctproject is a Odd, expected a Linear"),
        (lambda m: setattr(m.dec, "dropout", nn.Identity()), "dec.dropout is a Identity, expected a Dropout"),
        (lambda m: setattr(m.dec.top_lstm, "batch_first", True), "dec.top_lstm.batch_first is True, expected False"),
        (lambda m: setattr(m.dec.embedding, "padding_idx", 0), "dec.embedding.padding_idx is 0, expected None"),
        (lambda m: m.enc_pose.body_parts.reverse(), r"enc_pose.body_parts is \[\[.*expected \[\[0\]"),
        (lambda m: delattr(m.enc_pose, "body_parts"), "attribute enc_pose.body_parts is missing"),
        (lambda m: setattr(m, "K", 21), "K is 21, expected 6"),
        (lambda m: delattr(m, "hidden_dim"), "attribute hidden_dim is missing"),
        (lambda m: setattr(m, "beam_size", 0), "beam_size is 0, expected a whole number of at least 1"),
        (lambda m: setattr(m, "forward", lambda x: x), "forward is .replaced on the object.*expected .self, x, y"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(stand_in, change, message):
    model = stand_in(23, 10, 7, 9)
    model.enc_pose.body_parts = [list(part) for part in model.enc_pose.body_parts]
    change(model)
    kind = type(model)
    with pytest.raises(ValueError, match=f"accelerate: {message}"):
        accelerate(model)
    assert type(model) is kind


def test_other_modules_are_refused(stand_in):
    class Other(stand_in):
        def forward(self, motion, words):
            return motion

    with pytest.raises(ValueError, match="forward is .self, motion, words., expected .self, x, y"):
        accelerate(Other(23, 10, 7, 9))
    with pytest.raises(ValueError, match="wrapped in DataParallel, expected the module itself"):
        accelerate(nn.DataParallel(stand_in(23, 10, 7, 9)))
    with pytest.raises(ValueError, match="not a released checkpoint"):
        accelerate(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="model must be a torch.nn.Module, got dict"):
        accelerate({})
    assert released.accelerate is accelerate


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x, y, s: (x, y, None), TypeError, "src_lens is None"),
        (lambda x, y, s: (x, y, [12, *s[1:]]), ValueError, r"src_lens\[0\] is 12, expected 1 to 11"),
        (lambda x, y, s: (x, y, [0, *s[1:]]), ValueError, r"src_lens\[0\] is 0, expected 1 to 11"),
        (lambda x, y, s: (x, y, s[1:]), ValueError, "src_lens has shape"),
        (lambda x, y, s: (x[:, :, 3:], y, s), ValueError, "x has shape"),
        (lambda x, y, s: (x.float(), y, s), TypeError, "dtype"),
        (lambda x, y, s: (x, y[:, 1:], s), ValueError, "y has shape"),
        (lambda x, y, s: (x, y[:1], s), ValueError, "at least one frame, one sample and two words"),
        (lambda x, y, s: (x, y + 30, s), ValueError, r"y\[.*expected 0 to 22"),
        (lambda x, y, s: (x, y.double(), s), TypeError, "y has dtype"),
        (lambda x, y, s: (x.numpy(), y, s), TypeError, "x must be a tensor"),
    ],
)
def test_inputs_that_do_not_fit_are_named(random_model, change, error, message):
    model, inputs = random_model
    x, y, lengths = change(*inputs)
    with pytest.raises(error, match=message):
        accelerate(model)(x, y, 1, lengths)


def test_layers_exchanged_afterwards_are_refused_in_the_call(random_model):
    model, (x, y, lengths) = random_model
    accelerate(model).final_layer = nn.Linear(3, 23).double()
    with pytest.raises(ValueError, match="final_layer.weight has shape"):
        model(x, y, 1, lengths)


def test_a_replaced_layer_is_refused(random_model) -> None:
    """The accelerated forward reads weights: a hook or another layer would have no effect, without a word."""
    model, (x, y, lengths) = random_model
    accelerate(model)
    handle = model.final_layer.register_forward_hook(lambda *_: None)
    with pytest.raises(RuntimeError, match="final_layer .* was replaced or has a hook"):
        model(x, y, src_lens=lengths)
    handle.remove()
    assert model(x, y, src_lens=lengths).shape[0] == len(y) - 1
    nn.utils.prune.random_unstructured(model.dec.embedding, "weight", amount=0.5)
    with pytest.raises(RuntimeError, match="dec.embedding"):
        model(x, y, src_lens=lengths)
    nn.utils.prune.remove(model.dec.embedding, "weight")
    assert model(x, y, src_lens=lengths).shape[0] == len(y) - 1
