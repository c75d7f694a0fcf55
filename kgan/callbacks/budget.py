import keras

from kgan.callbacks.checkpoint import Checkpoint


class Budget(keras.callbacks.Callback):
    """Stop when the model has done so many steps, or training has taken so long, whichever comes first.

    Args:
        checkpoint: the `Checkpoint` that knows how long training has taken, resumes included; None where minutes do not count.
        steps: iterations in all; None for no such end.
        minutes: minutes in all; None for no such end.
        cpu_minutes: minutes of processor time in all, over all cores: other work on the machine does not count. None for no
            such end.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        steps: int | None = None,
        minutes: float | None = None,
        cpu_minutes: float | None = None,
    ):
        super().__init__()
        self.checkpoint = checkpoint
        self.steps = steps
        self.minutes = minutes
        self.cpu_minutes = cpu_minutes

    def spent(self, step: int) -> bool:
        """Return whether nothing is left at a step, now.

        Args:
            step: iterations that the model has done in all.

        Returns:
            True where one of the ends is reached.
        """
        ended = self.steps is not None and step >= self.steps
        return ended or any(spent_s >= 60 * minutes for spent_s, minutes in self._times())

    def steps_in_all(self, step: int, iterations_per_second: float | None) -> int | None:
        """Return the step at which it will be spent, estimated where it is counted in minutes.

        Args:
            step: iterations that the model has done in all.
            iterations_per_second: the rate now; None where it is not known yet, and ends in minutes are left out.

        Returns:
            The first of the ends; None without any.
        """
        ends = [] if self.steps is None else [self.steps]
        for spent_s, minutes in self._times():
            if iterations_per_second:
                wall_s = self.checkpoint.training_s
                rate = iterations_per_second * (wall_s / spent_s if spent_s else 1.0)  # steps for each second of that clock
                ends.append(step + round(max(0.0, 60 * minutes - spent_s) * rate))
        return min(ends, default=None)

    def on_train_batch_end(self, batch, logs=None):
        if self.spent(self.model.steps_done):
            self.model.stop_training = True

    def _times(self):
        """Return `(seconds spent, minutes to spend)` by each clock that has an end."""
        clocks = (("training_s", self.minutes), ("training_cpu_s", self.cpu_minutes))
        return [(getattr(self.checkpoint, clock), minutes) for clock, minutes in clocks if minutes is not None]
