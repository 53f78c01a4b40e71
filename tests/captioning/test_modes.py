"""The mode of a model in a block and after it."""

from __future__ import annotations

import pytest
from torch import nn

from m2t_fast.captioning.modes import evaluating


@pytest.mark.parametrize("training", [True, False])
def test_a_model_goes_back_to_the_mode_it_was_in(training: bool) -> None:
    model = nn.Sequential(nn.Dropout()).train(training)
    with evaluating(model):
        assert not model.training and not model[0].training
    assert model.training == model[0].training == training
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert model.training == training
