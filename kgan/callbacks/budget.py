import keras


class Budget(keras.callbacks.Callback):
    """Stop when the model has done so many steps, or training has taken so many minutes, whichever comes first.

    Args:
        checkpoint: the `Checkpoint` that knows how long training has taken, resumes included.
        steps: iterations in all; None for no such end.
        minutes: minutes in all; None for no such end.
    """

    def __init__(self, checkpoint, steps=None, minutes=None):
        super().__init__()
        self.checkpoint = checkpoint
        self.steps = steps
        self.minutes = minutes

    def spent(self, step):
        """Return whether nothing is left at a step, now."""
        return (self.steps is not None and step >= self.steps) or (
            self.minutes is not None and self.checkpoint.training_s >= 60 * self.minutes
        )

    def steps_in_all(self, step, iterations_per_second):
        """Return the step at which it will be spent, estimated where it is counted in minutes; None without an end."""
        ends = [] if self.steps is None else [self.steps]
        if self.minutes is not None and iterations_per_second:
            left_s = max(0.0, 60 * self.minutes - self.checkpoint.training_s)
            ends.append(step + round(left_s * iterations_per_second))
        return min(ends, default=None)

    def on_train_batch_end(self, batch, logs=None):
        if self.spent(int(self.model.step)):
            self.model.stop_training = True
