"""Keras callbacks for `gan.fit`, in a script or in a notebook. Iterations are counted by the model's own `step`."""

from kgan.callbacks.board import Board
from kgan.callbacks.budget import Budget
from kgan.callbacks.checkpoint import Checkpoint
from kgan.callbacks.health_watch import HealthWatch
from kgan.callbacks.history_csv import HistoryCSV
from kgan.callbacks.interrupt import Interrupt
from kgan.callbacks.preview import Preview
from kgan.callbacks.progress_bar import ProgressBar
from kgan.callbacks.score import Score
from kgan.callbacks.throughput import Throughput
from kgan.callbacks.together import Together

__all__ = [
    "Board",
    "Budget",
    "Checkpoint",
    "HealthWatch",
    "HistoryCSV",
    "Interrupt",
    "Preview",
    "ProgressBar",
    "Score",
    "Throughput",
    "Together",
]
