import keras

from kgan.callbacks.checkpoint import Checkpoint


class Budget(keras.callbacks.Callback):
    """Stop training at a number of steps or after a training time, whichever comes first.

    Args:
        checkpoint: the `Checkpoint` that measures the training time, including that before a resume; None if there is no limit
            in minutes.
        steps: total number of iterations; None for no limit.
        minutes: total training time in minutes; None for no limit.
        cpu_minutes: total processor time in minutes, summed over all cores; other work on the machine does not count. None
            for no limit.
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
        """Return whether the budget is spent.

        Args:
            step: iterations that the model has done in total.

        Returns:
            True if one of the limits is reached.
        """
        ended = self.steps is not None and step >= self.steps
        return ended or any(spent_s >= 60 * minutes for spent_s, minutes in self._times())

    def steps_in_all(self, step: int, iterations_per_second: float | None) -> int | None:
        """Return the step at which the budget will be spent; limits in minutes are converted by an estimate.

        Args:
            step: iterations that the model has done in total.
            iterations_per_second: the current rate; None if it is not known yet: limits in minutes are then ignored.

        Returns:
            The step of the first limit; None if there is no limit.
        """
        ends = [] if self.steps is None else [self.steps]
        for spent_s, minutes in self._times():
            if iterations_per_second:
                wall_s = self.checkpoint.training_s
                rate = iterations_per_second * (wall_s / spent_s if spent_s else 1.0)  # steps per second of that clock
                ends.append(step + round(max(0.0, 60 * minutes - spent_s) * rate))
        return min(ends, default=None)

    def on_train_batch_end(self, batch, logs=None):
        if self.spent(self.model.steps_done):
            self.model.stop_training = True

    def _times(self):
        """Return `(seconds spent, minutes allowed)` for each clock that has a limit."""
        clocks = (("training_s", self.minutes), ("training_cpu_s", self.cpu_minutes))
        return [(getattr(self.checkpoint, clock), minutes) for clock, minutes in clocks if minutes is not None]
