import time

import keras


class Throughput(keras.callbacks.Callback):
    """Add `iterations_per_second` and `examples_per_second` to the logs, over the last `window` iterations.

    List it before the callbacks that use these values. The first iteration, which compiles the model, is not counted.

    Args:
        examples_per_iteration: number of real examples in an iteration, `n_critic * batch_size`.
        window: number of iterations to average over.
    """

    def __init__(self, examples_per_iteration: int, window: int = 20):
        super().__init__()
        self.examples_per_iteration = examples_per_iteration
        self.window = window
        self._ends_s = []

    def on_train_batch_end(self, batch, logs=None):
        self._ends_s = [*self._ends_s[-self.window :], time.perf_counter()]
        self._add_to(logs)

    def on_epoch_end(self, epoch, logs=None):
        self._add_to(logs)

    def _add_to(self, logs):
        if len(self._ends_s) > 1 and logs is not None:
            rate = (len(self._ends_s) - 1) / (self._ends_s[-1] - self._ends_s[0])
            logs["iterations_per_second"] = rate
            logs["examples_per_second"] = rate * self.examples_per_iteration
