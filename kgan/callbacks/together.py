import keras

from kgan.strategy import total


class Together(keras.callbacks.Callback):
    """Stop training in all processes of a job after the same iteration, as soon as one of them wants to.

    A process that waited for one that is gone would wait for ever. List it last.
    """

    def on_train_batch_end(self, batch, logs=None):
        self.model.stop_training = total(self.model.distribute_strategy, int(self.model.stop_training)) > 0
