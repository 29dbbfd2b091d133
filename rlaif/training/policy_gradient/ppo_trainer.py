"""PPO on packs of groups: the policy's clipped loss, and a value head that is trained beside it.

Invariant: the head is in every checkpoint and in the state that the next training goes on with, and never in the saved
policy.

Suffixes name axes: A answer tokens of a pack.
"""

from pathlib import Path
from typing import Any

import torch

from rlaif.recipe import PpoSection
from rlaif.training.group_trainer import PackLoss
from rlaif.training.policy_gradient.losses import clipped_losses, value_losses
from rlaif.training.policy_gradient.trainer import GroupPolicyTrainer, RolloutBatch
from rlaif.training.policy_gradient.value_head import ValueHead, without_value_head
from rlaif.training.shared_prompt import TokenOutputs

_FILE = "value_head.pt"


class GroupPPOTrainer(GroupPolicyTrainer):
    """PPO; see `PpoSection`.

    Args:
        head: of the model.
        rest, named: of `GroupPolicyTrainer`.
    """

    section: PpoSection

    def __init__(self, *rest: Any, head: ValueHead, **named: Any) -> None:
        self._head = head
        super().__init__(*rest, **named)

    def loss_of_outputs(self, batch: RolloutBatch, outputs: TokenOutputs) -> PackLoss:
        """See `GroupTrainer`; the units are answers."""
        policy = self.loss_of(batch, outputs.logps)
        assert outputs.values is not None
        errors_A = value_losses(outputs.values, batch.values, batch.returns, self.section.value_clip)
        loss = policy.loss + self.section.value_weight * errors_A.sum() / batch.step_weight
        figures = {**policy.figures, "value_loss": self._summed(batch.row, errors_A.detach())}
        return PackLoss(loss, figures, policy.units)

    def loss_of(self, batch: RolloutBatch, logps_A: torch.Tensor) -> PackLoss:
        """Return the loss of the policy alone."""
        found = clipped_losses(logps_A - batch.old, batch.advantages, self.section)
        loss = (found.losses * batch.importance).sum() / batch.step_weight
        return PackLoss(loss, self.figures(batch, logps_A, found), len(batch.ids))

    def create_optimizer(self, *rest: Any, **named: Any) -> torch.optim.Optimizer:
        """See `Trainer`; the head has a learning rate of its own."""
        made = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(*rest, **named)
        if made:
            own = {id(weight) for weight in self._head.parameters()}
            for group in optimizer.param_groups:
                group["params"] = [weight for weight in group["params"] if id(weight) not in own]
            optimizer.add_param_group(
                {"params": list(self._head.parameters()), "lr": self.section.value_learning_rate, "weight_decay": 0.0}
            )
        return optimizer

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        weights = self.accelerator.unwrap_model(self.model).state_dict() if state_dict is None else state_dict
        super()._save(output_dir, without_value_head(weights))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            torch.save(self._head.state_dict(), Path(output_dir, _FILE))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.load_head(checkpoint)

    def save_moments(self, folder: str) -> None:
        """See `ShardedTrainer`; the head is saved beside them."""
        super().save_moments(folder)
        if self.args.should_save:
            torch.save(self._head.state_dict(), Path(folder, _FILE))

    def load_head(self, folder: str) -> None:
        """Give the head the weights that a folder has."""
        load_head(self._head, folder)


def load_head(head: ValueHead, folder: str) -> None:
    """Give a head the weights of a folder of a checkpoint or of a training's state."""
    head.load_state_dict(torch.load(Path(folder, _FILE), map_location="cpu", weights_only=True))
