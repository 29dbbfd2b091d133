"""TRL's trainer of reward models, for models with and without shards."""

from trl import RewardTrainer

from rlaif.training.sharded_trainer import ShardedTrainer


class ShardedRewardTrainer(ShardedTrainer, RewardTrainer):  # type: ignore[misc]
    """`RewardTrainer`, which also takes a model of `shard_model`."""
