"""Guided training in Python: the model, its three losses (eq. 11 to 13) and an optimiser of your own."""

from __future__ import annotations

import torch

from m2t_fast import Captioner, CaptionerConfig, load_data
from m2t_fast.data import batch_of
from m2t_fast.losses import guided_loss


def main(steps: int = 5) -> None:
    torch.manual_seed(0)
    data = load_data("synthetic", synthetic_count=60)  # or a data folder
    train = data["train"]
    model = Captioner(CaptionerConfig.kit(len(data.vocabulary), joints=data.skeleton.joints)).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for step in range(steps):
        batch = batch_of(train, torch.randint(len(train), (16,)))
        out = model(batch.motion, batch.lengths, batch.tokens)
        loss = guided_loss(
            out, batch.tokens, batch.lengths, batch.gate_target, batch.spatial_target, lambda_spat=2.0, lambda_adapt=3.0
        )
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
        print(f"step {step}: total {loss.total:.3f}")


if __name__ == "__main__":
    main()
