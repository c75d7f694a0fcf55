"""Evaluation of generated sounds: scores relative to real sounds, and the classifier that some scores need."""

from kgan.audio.envelope import attack_ms
from kgan.evaluation.distances import frechet_distance, kernel_distance
from kgan.evaluation.diversity import mean_nearest_distance, nearest_neighbours
from kgan.evaluation.envelope import level_noise_db
from kgan.evaluation.evaluator import Evaluator
from kgan.evaluation.inception_score import effective_classes, inception_score
from kgan.evaluation.ndb import Bins
from kgan.evaluation.pitch_scores import pitch_accuracy, pitch_entropy

__all__ = [
    "Bins",
    "Evaluator",
    "attack_ms",
    "effective_classes",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "level_noise_db",
    "mean_nearest_distance",
    "nearest_neighbours",
    "pitch_accuracy",
    "pitch_entropy",
]
