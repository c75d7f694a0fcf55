import keras

from kgan.strategy import total


class Together(keras.callbacks.Callback):
    """Stop training in all processes of a job after the same iteration, as soon as one of them stops.

    Otherwise the remaining processes would wait forever for the one that stopped. List this callback last.
    """

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = total(self.model.distribute_strategy, int(self.model.stop_training)) > 0
