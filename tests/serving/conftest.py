import pytest

from kgan.gans import WGANGP
from kgan.networks import wave_critic, wave_generator
from kgan.representations import Wave
from kgan.serving.saved_model import SavedSynthesizer, export_saved_model
from kgan.synthesizer import GANSynthesizer
from tests.serving.test_saved_model import config_yaml


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder with two versions of a model, of 512 and of 1024 samples, and the synthesizer of the second."""
    folder = tmp_path_factory.mktemp("models") / "drums"
    for length in (512, 1024):
        gan = WGANGP(wave_generator(length, dim=4, latent_dim=8), wave_critic(length, dim=4))
        gan.compile("adam", "adam")
        synthesizer = GANSynthesizer(gan, Wave(length), 16000)
        export_saved_model(synthesizer, config_yaml("normal"), folder)
    return folder, synthesizer


@pytest.fixture(scope="session")
def served(models):
    """A stand-in for TensorFlow Serving with these models, and the synthesizer."""
    pytest.importorskip("tensorflow_serving")
    from tests.serving.stand_in import StandIn

    folder, synthesizer = models
    stand_in = StandIn(folder, "drums")
    yield stand_in, synthesizer
    stand_in.stop()


@pytest.fixture(scope="session")
def served_playing(tmp_path_factory, playing):
    """A stand-in with a model that plays notes, and its `SavedSynthesizer`."""
    pytest.importorskip("tensorflow_serving")
    from tests.serving.stand_in import StandIn

    folder = tmp_path_factory.mktemp("models") / "playing"
    export_saved_model(playing, config_yaml("normal", 8192), folder)
    stand_in = StandIn(folder, "playing")
    yield stand_in, SavedSynthesizer(folder)
    stand_in.stop()


@pytest.fixture(scope="session")
def conditional_folder(tmp_path_factory, conditional):
    """The folder of a model that is asked for a pitch and a family."""
    folder = tmp_path_factory.mktemp("models") / "notes"
    export_saved_model(conditional[0], config_yaml("normal"), folder)
    return folder


@pytest.fixture(scope="session")
def served_notes(conditional_folder, conditional):
    """A stand-in with that model, and the synthesizer."""
    pytest.importorskip("tensorflow_serving")
    from tests.serving.stand_in import StandIn

    stand_in = StandIn(conditional_folder, "notes")
    yield stand_in, conditional[0]
    stand_in.stop()
