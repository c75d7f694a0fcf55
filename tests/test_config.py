import pytest
import yaml

from kgan.config import CHANGEABLE, configs_folder, fields, flatten, load_config, validated
from kgan.errors import InputError


def test_base_states_every_field_and_nothing_else():
    base = flatten(yaml.safe_load((configs_folder() / "base.yaml").read_text()))
    assert base.keys() == fields().keys()
    assert fields().keys() >= CHANGEABLE


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            "dcgan",
            {
                "training.batch_size": 256, "gan.n_critic": 1, "gan.latent_distribution": "uniform",
                "network.generator_activation": "relu", "optimizer.name": "adam", "optimizer.learning_rate": 2e-4,
                "gan.clip_value": None, "gan.gradient_penalty_weight": None,
            },
        ),
        (
            "wgan",
            {
                "training.batch_size": 64, "gan.n_critic": 5, "gan.latent_distribution": "normal",
                "optimizer.name": "rmsprop", "optimizer.learning_rate": 5e-5, "gan.clip_value": 0.01,
                "network.weight_stddev": 0.02, "gan.gradient_penalty_weight": None,
            },
        ),
        (
            "wgan_gp",
            {
                "training.batch_size": 64, "gan.n_critic": 5, "gan.latent_distribution": "normal",
                "optimizer.name": "adam", "optimizer.learning_rate": 2e-4, "optimizer.beta_1": 0.5,
                "optimizer.beta_2": 0.9, "gan.gradient_penalty_weight": 10.0, "network.weight_stddev": None,
            },
        ),
    ],
)  # fmt: skip
def test_published_hyper_parameters(model, expected):
    config = flatten(load_config({"model": model, "size": "full"}).model_dump())
    assert {name: config[name] for name in expected} == expected
    assert config["network.dim"] == 64
    assert config["network.latent_dim"] == 100


def test_size_follows_the_machine_unless_told():
    assert load_config({}).size == "small"
    assert load_config({}).network.dim == 16
    assert load_config({}).training.minutes == 10
    assert load_config({}, accelerated=True).size == "full"
    assert load_config({"size": "small"}, accelerated=True).network.dim == 16
    assert load_config({"network.dim": "24"}).network.dim == 24


def test_a_told_budget_replaces_the_default_one():
    config = load_config({"training.steps": "7"})
    assert (config.training.steps, config.training.minutes) == (7, None)


def test_files_come_between_size_and_command_line(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("network: {dim: 20, latent_dim: 50}\n")
    config = load_config({"network.latent_dim": 60}, [file])
    assert (config.network.dim, config.network.latent_dim) == (20, 60)


def test_yaml_round_trip():
    config = load_config({"optimizer.learning_rate": "1e-4", "gan.ema_decay": "null"})
    assert config.optimizer.learning_rate == 1e-4
    assert config.gan.ema_decay is None
    assert validated(flatten(yaml.safe_load(config.to_yaml()))) == config


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"model": "wgan_pg"}, "Unknown model `wgan_pg`. Did you mean `wgan_gp`?"),
        ({"repr": "wav"}, "Unknown representation `wav`. Did you mean `wave`?"),
        ({"size": "smal"}, "Unknown size `smal`. Did you mean `small`?"),
        ({"network.dmi": 3}, "Unknown configuration key `network.dmi`. Did you mean `network.dim`?"),
        ({"network.dim": 0}, "`network.dim`: Input should be greater than 0. Received: 0."),
        ({"network.dim": "wide"}, "`network.dim`: Input should be a valid integer"),
        ({"gan.ema_decay": 1.0}, "`gan.ema_decay`: Input should be less than 1. Received: 1.0."),
        ({"optimizer.learning_rate": ".nan"}, "`optimizer.learning_rate`: Input should be a finite number"),
        ({"data.channels": 3}, "`data.channels`: Input should be 1 or 2. Received: 3."),
        ({"data.pad_end": "maybe"}, "`data.pad_end`: Input should be a valid boolean"),
        ({"data.families": "bass"}, "`data.families`: Input should be a valid list. Received: 'bass'."),
        ({"data.pitches": "[1]"}, "`data.pitches`: "),
        ({"data.overlap": 1.0}, "`data.overlap`: Input should be less than 1. Received: 1.0."),
        ({"scores.monitor": "musicnn_frechet"}, "`scores.monitor`: Input should be 'inception_score', 'frechet_distance', "),
        ({"augment.gain_db": -1}, "`augment.gain_db`: Input should be greater than or equal to 0. Received: -1."),
    ],
)
def test_bad_values_name_the_rule_and_what_was_received(told, message):
    with pytest.raises(InputError) as error:
        load_config(told)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("name", ["Kit #1", "Kits: old", "[kick]", "null", "007"])
def test_a_folder_s_name_is_not_read_as_yaml(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert load_config({"data.source": name}).data.source == str(tmp_path / name)


def test_truths_lists_and_pairs():
    told = {"data.pad_end": "false", "data.families": "[bass, organ]", "data.pitches": "[48, 59]", "data.overlap": "0.5"}
    data = load_config(told).data
    assert (data.pad_end, data.families, data.pitches, data.overlap) == (False, ["bass", "organ"], (48, 59), 0.5)
    config = load_config(told)
    assert validated(flatten(yaml.safe_load(config.to_yaml()))) == config


def test_files_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = load_config({"data.source": "sounds", "data.labels_csv": "labels.csv"}).data
    assert (data.source, data.labels_csv) == (str(tmp_path / "sounds"), str(tmp_path / "labels.csv"))
    for name in ("nsynth", "nsynth/gansynth_subset", "notes"):
        assert load_config({"data.source": name}).data.source == name


def test_a_representation_s_values_come_between_model_and_size():
    assert load_config({"repr": "spec", "size": "full"}).network.dim == 128
    assert load_config({"repr": "spec", "size": "full"}).training.batch_size == 32
    assert load_config({"repr": "spec", "size": "small"}).network.dim == 16
    for name in ("spec", "logspec", "melif"):
        assert load_config({"repr": name}).network.kernel_size == 5
    assert load_config({"repr": "wave"}).network.kernel_size == 25


def test_what_an_old_configuration_lacks_has_the_base_s_value():
    values = flatten(load_config({"network.dim": 20}).model_dump())
    del values["network.kernel_size"], values["training.log_steps"]
    config = validated(values)
    assert (config.network.dim, config.network.kernel_size, config.training.log_steps) == (20, 25, 20)


@pytest.mark.parametrize("text", ["1: 2", "network: 5", "on: x"])
def test_keys_that_are_none(tmp_path, text):
    file = tmp_path / "odd.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match="Unknown configuration key"):
        load_config({}, [file])


@pytest.mark.parametrize("text", ["- a list", "a: [unclosed", None])
def test_bad_config_file(tmp_path, text):
    file = tmp_path / "bad.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml"):
        load_config({}, [file])
