import keras
from tqdm import tqdm

from kgan.callbacks.budget import Budget


class ProgressBar(keras.callbacks.Callback):
    """Show one progress bar for the whole run: iterations, rate, time left and the losses.

    Args:
        budget: the `Budget` that determines the end.
    """

    def __init__(self, budget: Budget):
        super().__init__()
        self.budget = budget
        self._bar = None

    def on_train_begin(self, logs=None):
        step = self.model.steps_done
        self._bar = tqdm(initial=step, total=self.budget.steps, desc="Training", dynamic_ncols=True)

    def on_train_batch_end(self, batch, logs=None):
        logs = logs or {}
        step = self.model.steps_done
        self._bar.total = self.budget.steps_in_all(step, logs.get("iterations_per_second"))
        terms = {name: f"{logs[name]:.3g}" for name in ("critic_loss", "generator_loss") if name in logs}
        self._bar.set_postfix(terms, refresh=False)
        self._bar.update(step - self._bar.n)

    def on_train_end(self, logs=None):
        self._bar.total = self._bar.n
        self.close()

    def close(self) -> None:
        """End the bar's line. Call it if training raised an exception, since callbacks are not notified of one."""
        if self._bar is not None:
            self._bar.close()
