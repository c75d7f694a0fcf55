import signal

import keras
from tqdm import tqdm


class Interrupt(keras.callbacks.Callback):
    """Let Ctrl-C and SIGTERM end training after the iteration under way; a second one ends it at once.

    Attributes:
        received: the signal's number, None without any.
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
        tqdm.write("Stopping after this iteration; a checkpoint and an export follow. Once more ends it at once.")
        self.received = number
        self._restore()

    def _restore(self):
        while self._previous:
            signal.signal(*self._previous.popitem())
