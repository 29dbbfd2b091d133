"""Policy gradients on groups of answers with rewards: GRPO, RLOO and PPO."""
