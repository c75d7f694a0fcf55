import pytest

from kgan.data.pipeline import training_dataset
from kgan.representations import Wave


@pytest.fixture
def fit(tiny_sounds):
    """Return a function that trains a DCGAN for some steps with callbacks."""

    def run(gan, steps, callbacks, epochs=1):
        dataset = training_dataset(tiny_sounds, Wave(), batch_size=4, n_critic=gan.n_critic, start_step=int(gan.step))
        return gan.fit(dataset, steps_per_epoch=steps, epochs=epochs, verbose=0, callbacks=callbacks)

    return run
