import signal

import keras
from tqdm import tqdm


class Interrupt(keras.callbacks.Callback):
    """Let Ctrl-C and SIGTERM end training after the iteration under way; a second one ends it at once.

    As a context manager it stands by before training, too: there Ctrl-C ends the work at once, and where a library swallows
    that, training ends after its first iteration.

    Attributes:
        received: the signal's number, None without any.
    """

    def __init__(self):
        super().__init__()
        self.received = None
        self._previous = {}

    def __enter__(self):
        self._handle(signal.SIGINT, self._end_at_once)
        return self

    def __exit__(self, *error):
        self._restore()

    def on_train_begin(self, logs=None):
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handle(number, self._end_after_iteration)

    def on_train_batch_end(self, batch, logs=None):
        if self.received is not None:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self._restore()

    def _handle(self, number, handler):
        previous = signal.signal(number, handler)
        self._previous.setdefault(number, previous)

    def _end_at_once(self, number, frame):
        self.received = number
        raise KeyboardInterrupt

    def _end_after_iteration(self, number, frame):
        tqdm.write("Stopping after this iteration; a checkpoint and an export follow. Once more ends it at once.")
        self.received = number
        self._restore()

    def _restore(self):
        while self._previous:
            signal.signal(*self._previous.popitem())
