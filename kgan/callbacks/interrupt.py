import signal

import keras
from tqdm import tqdm


class Interrupt(keras.callbacks.Callback):
    """End training after the current iteration on Ctrl-C or SIGTERM; a second signal ends it at once.

    Attributes:
        received: number of the signal; None if there was none.
    """

    def __init__(self):
        super().__init__()
        self.received = None
        self._previous = {}

    def on_train_begin(self, logs=None):
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)

    def on_train_batch_end(self, batch, logs=None):
        if self.received is not None:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self._restore()

    def _handle(self, number, frame):
        tqdm.write("Stopping after this iteration; a checkpoint and an export follow. Press Ctrl-C again to stop at once.")
        self.received = number
        self._restore()

    def _restore(self):
        while self._previous:
            signal.signal(*self._previous.popitem())
