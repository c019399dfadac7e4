"""Rule-based rewards: mask IoU, centroid distance, format, and optional terms."""

from simpleseg_core.rewards.function import RewardBatch, RewardFunction

__all__ = ["RewardBatch", "RewardFunction"]
