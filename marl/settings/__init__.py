"""The settings of a training, from one place. Importing them loads no torch."""

from marl.settings.agent import AgentConfig
from marl.settings.algorithms import AlgorithmSettings
from marl.settings.base import Settings
from marl.settings.env import EnvConfig
from marl.settings.evaluation import EvaluationConfig
from marl.settings.exploration import ExplorationConfig
from marl.settings.learner import LearnerConfig
from marl.settings.registry import ALGORITHMS, AlgorithmConfig, algorithm_config
from marl.settings.train import TrainConfig

__all__ = [
    "ALGORITHMS",
    "AgentConfig",
    "AlgorithmConfig",
    "AlgorithmSettings",
    "EnvConfig",
    "EvaluationConfig",
    "ExplorationConfig",
    "LearnerConfig",
    "Settings",
    "TrainConfig",
    "algorithm_config",
]
