"""The typed configuration of an experiment: every value that a run depends on.

The values are in `configs/`. `base.yaml` holds all of them. Other files hold changes to it: `dcgan.yaml`, `wgan.yaml` and
`wgan_gp.yaml` for a model, `wave.yaml`, `spec.yaml`, `logspec.yaml` and `melif.yaml` for a representation, `small.yaml` and
`full.yaml` for a size. `fast.yaml`, `hq.yaml`, `paper.yaml` and others are presets: whole experiments. A run's `config.yaml`
holds the complete resolved configuration.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError

from kgan.errors import InputError, check_choice, unknown_name
from kgan.text import printable

MODELS = {
    "dcgan": "kgan.gans.dcgan:DCGAN",
    "wgan": "kgan.gans.wgan:WGAN",
    "wgan_gp": "kgan.gans.wgan_gp:WGANGP",
    "r1": "kgan.gans.r1:R1GAN",
}
REPRESENTATIONS = {
    "wave": "kgan.representations.wave:Wave",
    "spec": "kgan.representations.spec:Spec",
    "logspec": "kgan.representations.logspec:LogSpec",
    "melif": "kgan.representations.melif:MelIF",
    "harmonic": "kgan.representations.harmonic:Harmonic",
}
DATA_SETS = ("notes", "nsynth", "nsynth/full", "nsynth/gansynth_subset")  # anything else is a path
SIZES = ("small", "full")
PRESETS = ("fast", "fast_melif", "hq", "hq_melif", "paper")
WITHOUT_PITCH = {"fast": "fast_melif", "hq": "hq_melif"}  # the preset to use for sounds of unknown pitch

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


def _names(value):
    """Split a comma-separated text, such as `pitch,family`, into a list. Return other values unchanged."""
    return value.split(",") if isinstance(value, str) and value != "auto" else value


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())


class Data(Section):
    source: str = Field(description="notes, nsynth, nsynth/gansynth_subset, or a path: sounds, shards or an NSynth archive")
    split: Literal["train", "valid", "test"] | None = Field(
        description="train, valid or test, of a named set or of a folder with subfolders of these names; null: train"
    )
    labels_csv: str | None = Field(description="CSV file of labels for the files of a folder; it has a column `file`")
    sample_rate_hz: PositiveInt = Field(description="sample rate")
    length_samples: PositiveInt = Field(description="samples of a clip; for wave 16 times a power of two: 8192, 16384...")
    channels: Literal[1, 2] = Field(description="1 for mono, 2 for stereo")
    slicing: Literal["all", "first", "random"] = Field(
        description="which clips to take from a long file: all, the first or a random one"
    )
    overlap: Fraction = Field(description="fraction of a clip that overlaps with the next one")
    pad_end: bool = Field(description="whether to pad a last clip with zeros if at least half of it is sound")
    silence_db: Annotated[float, Field(le=0)] | None = Field(
        description="leave out clips whose peak is below this level; null keeps all"
    )
    normalize: bool = Field(description="whether to scale each file to a peak at full scale")
    families: list[str] | None = Field(description="use only these instrument families, such as [bass, organ]")
    sources: list[str] | None = Field(description="use only these sources, such as [acoustic, electronic, synthetic]")
    pitches: tuple[int, int] | None = Field(description="use only MIDI pitches from the first to the second, such as [48, 59]")
    velocities: list[int] | None = Field(description="use only these MIDI velocities")


class Augment(Section):
    gain_db: NotNegative = Field(description="largest random change of the level, down or up, in decibels")
    polarity: bool = Field(description="whether to invert a random half of the waveforms")
    pitch_semitones: NotNegative = Field(description="largest random change of speed and pitch, down or up, in semitones")
    shift_samples: Annotated[int, Field(ge=0)] = Field(description="largest random shift in time, in samples")
    fade_samples: Annotated[int, Field(ge=0)] = Field(description="length of the fade-in and the fade-out, in samples")
    frequency_mask_bins: Annotated[int, Field(ge=0)] = Field(description="spectrograms: largest number of masked bins")
    time_mask_frames: Annotated[int, Field(ge=0)] = Field(description="spectrograms: largest number of masked frames")


class Representation(Section):
    fft_samples: PositiveInt | None = Field(description="spec, logspec, melif: length of a frame, a power of two")
    hop_samples: PositiveInt | None = Field(description="spec, logspec, melif: samples between frames")
    companding: Literal["log", "raw"] | None = Field(
        description="spec: log maps magnitudes to the range of tanh; raw keeps them, as first published"
    )
    griffin_lim_iterations: Annotated[int, Field(ge=0)] | None = Field(
        description="logspec, melif: Griffin-Lim iterations of the decoder"
    )
    components: PositiveInt | None = Field(description="harmonic: number of components of the levels of partials and noise")


class Network(Section):
    dim: PositiveInt = Field(description="width of the networks: channels of their narrowest layer")
    latent_dim: PositiveInt = Field(description="width of the latents")
    kernel_size: PositiveInt = Field(description="taps of the convolutions")
    generator_activation: Literal["relu", "leaky_relu"] = Field(description="relu, or leaky_relu of slope 0.2")
    weight_stddev: Positive | None = Field(
        description="standard deviation of normal initial weights; null: Glorot uniform weights"
    )
    phase_shuffle: int = Field(ge=0, description="wave: radius in samples of the critic's phase shuffle; 0: none")
    phase_shuffle_per: Literal["example", "batch"] = Field(description="draw one shift per example, or one per batch")
    pixel_norm: bool = Field(description="whether to normalise the generator's activations at each position")
    minibatch_stddev: Annotated[int, Field(ge=0)] = Field(
        description="group size of the critic's minibatch standard deviation, a divisor of the batch size; 0: none"
    )


class Gan(Section):
    n_critic: PositiveInt = Field(description="critic steps per iteration")
    latent_distribution: Literal["normal", "uniform"] = Field(description="normal: N(0, 1); uniform: U(-1, 1)")
    ema_decay: Fraction | None = Field(description="decay of the running average of the generator's weights; null: no average")
    reconstruction_weight: NotNegative = Field(
        description="weight, in the generator's loss, of the squared distance from a real example to the nearest fake"
    )
    clip_value: Positive | None = Field(description="wgan: largest absolute weight of the critic")
    gradient_penalty_weight: Positive | None = Field(description="wgan_gp: weight of the gradient penalty, lambda")
    r1_gamma: Positive | None = Field(description="r1: weight of the R1 gradient penalty at real examples")
    r1_interval: PositiveInt | None = Field(description="r1: iterations from one penalty to the next")
    loss: Literal["logistic", "hinge", "least_squares"] | None = Field(
        description="dcgan, r1: adversarial loss, logistic, hinge or least_squares"
    )


class Conditioning(Section):
    labels: Annotated[Literal["auto"] | list[str] | None, BeforeValidator(_names)] = Field(
        description="labels to learn, such as pitch,family; null: none; auto: those of pitch, family, instrument, velocity and"
        " class that vary in the data"
    )
    critic: Literal["auxiliary", "projection"] = Field(
        description="how the critic uses labels: an auxiliary classifier or a projection"
    )
    weight: Positive = Field(description="weight of the auxiliary classifier's cross-entropy in both losses")
    label_gain: Positive = Field(
        description="factor that multiplies the generator's labels; at 10 a label is as strong as 100 latents"
    )


class Optimizer(Section):
    name: Literal["adam", "rmsprop"] = Field(description="optimizer of both networks: adam or rmsprop")
    learning_rate: Positive = Field(description="learning rate of both networks")
    critic_learning_rate: Positive | None = Field(description="learning rate of the critic, if it differs; null: the same")
    beta_1: Fraction = Field(description="adam: decay of the first moment")
    beta_2: Fraction = Field(description="adam: decay of the second moment")


class Training(Section):
    start_from: str | None = Field(description="run or SavedModel to fine-tune: its networks and settings are the start")
    batch_size: PositiveInt = Field(description="examples in a critic step")
    steps: PositiveInt | None = Field(description="iterations after which the run ends; null: no limit")
    minutes: Positive | None = Field(description="training time after which the run ends; null: no limit")
    cpu_minutes: Positive | None = Field(
        description="CPU time, summed over all cores, after which the run ends; null: no limit"
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = Field(
        description="precision of the networks' inner layers; auto measures which one is fastest on this machine"
    )
    strategy: Literal["auto", "one", "mirrored", "multiworker"] = Field(
        description="one: one device; mirrored: all local GPUs; multiworker: processes listed by TF_CONFIG or SLURM; auto: what"
        " is available"
    )
    log_steps: PositiveInt = Field(description="iterations per epoch; each epoch is a row of history.csv")
    preview_steps: PositiveInt = Field(description="iterations between previews, sounds and pictures in samples/")
    preview_count: PositiveInt = Field(description="sounds in a preview")
    checkpoint_minutes: Positive = Field(description="minutes between checkpoints; a crash loses at most this much")
    callbacks: Annotated[list[str] | None, BeforeValidator(_names)] = Field(
        description="your own Keras callbacks, such as mine:Callback for mine.py in the working directory; null: none"
    )


class Scores(Section):
    every_steps: PositiveInt | None = Field(
        description="iterations between scores, the rows of scores.csv; null: no scores, because they take time"
    )
    sounds: Annotated[int, Field(ge=50)] = Field(description="sounds to score")
    monitor: Literal["inception_score", "frechet_distance", "kernel_distance", "pitched", "harmonicity"] | None = Field(
        description="the score that selects the best checkpoint; null: frechet_distance if available, else harmonicity"
    )
    patience: PositiveInt | None = Field(
        description="number of scores without an improvement after which the run ends; null: no limit"
    )


class Config(Section):
    """The configuration of an experiment. `load_config` creates it, `to_yaml` writes it."""

    model: str = Field(description="dcgan, wgan, wgan_gp or r1")
    repr: str = Field(description="wave, spec, logspec, melif, or harmonic for sounds of known pitch")
    size: Literal["auto", "small", "full"] = Field(
        description="small, for a laptop; full, the published size; auto: full with a GPU, else small"
    )
    seed: int = Field(ge=0, lt=2**32, description="seed of all random numbers: weights, order of the data, latents")
    data: Data
    augment: Augment
    representation: Representation
    network: Network
    gan: Gan
    conditioning: Conditioning
    optimizer: Optimizer
    training: Training
    scores: Scores

    def to_yaml(self):
        return yaml.safe_dump(self.model_dump(), sort_keys=False)


# What may change when a run resumes: its budget and what it reports, but nothing that its weights depend on.
CHANGEABLE = {
    "training.steps", "training.minutes", "training.cpu_minutes", "training.strategy", "training.log_steps",
    "training.preview_steps", "training.preview_count", "training.checkpoint_minutes", "training.callbacks",
    "scores.every_steps", "scores.sounds", "scores.monitor", "scores.patience",
}  # fmt: skip
BUDGET = {"training.steps", "training.minutes", "training.cpu_minutes"}


def fields(model=Config, prefix=""):
    """Return `{dotted name: field}` for every value of the configuration."""
    found = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found |= fields(field.annotation, f"{prefix}{name}.")
        else:
            found[prefix + name] = field
    return found


def flatten(values, prefix=""):
    """Return nested `values` as `{dotted name: value}`."""
    flat = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def load_config(overrides, files=(), accelerated=False):
    """Resolve a configuration. Later sources take precedence: base, model, representation, size, `files`, `overrides`.

    Args:
        overrides: `{dotted name: value}`. Text is parsed as YAML, such as `"null"` and `"1e-4"`, unless the field itself is
            text. Relative paths are made absolute.
        files: YAML files of changes; later files take precedence.
        accelerated: Whether there is a GPU; then the size `auto` means full.

    Returns:
        A `Config` whose size is `small` or `full`.

    Raises:
        InputError: A name is unknown or a value is out of its range. The message suggests the nearest valid name.
    """
    told = told_values(overrides, files)
    resolved = base_values({}) | {name: told[name] for name in ("model", "repr", "size") if name in told}
    check_choice("model", resolved["model"], MODELS)
    check_choice("representation", resolved["repr"], REPRESENTATIONS)
    check_choice("size", resolved["size"], ("auto", *SIZES))
    if resolved["size"] == "auto":
        resolved["size"] = "full" if accelerated else "small"
    for name in (resolved["model"], resolved["repr"], resolved["size"]):
        resolved |= flatten(read_yaml(configs_folder() / f"{name}.yaml"))
    if BUDGET & set(told):  # a requested budget replaces that of the size
        resolved |= dict.fromkeys(BUDGET)
    return validated(resolved | told)


# Options that depend on another option: `{option: (other option, test of its value, the test in words)}`.
DEPENDENT = {
    "data.overlap": ("data.slicing", lambda value: value == "all", "all"),
    "network.phase_shuffle_per": ("network.phase_shuffle", bool, "above 0"),
    "conditioning.critic": ("conditioning.labels", bool, "set"),
    "conditioning.weight": ("conditioning.labels", bool, "set"),
    "conditioning.label_gain": ("conditioning.labels", bool, "set"),
    "optimizer.beta_1": ("optimizer.name", lambda value: value == "adam", "adam"),
    "optimizer.beta_2": ("optimizer.name", lambda value: value == "adam", "adam"),
    "scores.sounds": ("scores.every_steps", bool, "set"),
    "scores.monitor": ("scores.every_steps", bool, "set"),
    "scores.patience": ("scores.every_steps", bool, "set"),
}


def check_effective(asked, config):
    """Raise an error if a requested option has no effect with the other values.

    Args:
        asked: Dotted names of the requested options.
        config: The resolved `Config`.

    Raises:
        InputError: An option has no effect.
    """
    flat = flatten(config.model_dump())
    for name in asked:
        other, gives_effect, in_words = DEPENDENT.get(name, (None, None, None))
        if other and not gives_effect(flat[other]):
            raise InputError(
                f"`{name}` has an effect only where `{other}` is {in_words}. Received: {flat[name]} beside {flat[other]}."
            )


def told_values(overrides, files=()):
    """Return the requested values `{dotted name: value}` of files and overrides, see `load_config`."""
    told = {}
    for file in files:
        told |= flatten(read_yaml(Path(file)))
    overrides = {name: _parsed(name, value) for name, value in overrides.items()}
    if BUDGET & set(overrides):  # a requested budget replaces that of a file
        told = {name: value for name, value in told.items() if name not in BUDGET}
    told |= overrides
    _check_names(told)
    for name in ("data.source", "data.labels_csv", "training.start_from"):
        if isinstance(told.get(name), str) and told[name] not in DATA_SETS and "://" not in told[name]:
            told[name] = str(Path(told[name]).expanduser().resolve())
    return told


def all_values(values, preset=None, files=()):
    """Return `{dotted name: value}` of a preset, files and values; the later ones take precedence.

    Raises:
        InputError: A preset or a name is unknown, or a file cannot be read.
    """
    if preset is not None:
        check_choice("preset", preset, PRESETS)
        files = [configs_folder() / f"{preset}.yaml", *files]
    return told_values(values or {}, files)


def base_values(told):
    """Return `{dotted name: value}` of `base.yaml`, updated by the requested values."""
    return flatten(read_yaml(configs_folder() / "base.yaml")) | told


def _parsed(name, value):
    """Parse a text as YAML, unless the field itself is text: a path may look like YAML."""
    if isinstance(value, str) and not value.strip():
        raise InputError(f"`{name}` must have a value; use null for none. Received: an empty text.")
    annotation = fields()[name].annotation if name in fields() else None
    if annotation == str | None and value in ("~", "null"):
        return None
    if not isinstance(value, str) or annotation in (str, str | None):
        return value
    try:
        return yaml.safe_load(printable(value))
    except yaml.YAMLError:
        raise InputError(f"`{name}` must be a YAML value. Received: {value}.") from None


def _check_names(flat):
    valid = fields()
    for name, value in flat.items():
        if name not in valid:
            raise unknown_name("configuration key", name, valid)
        if isinstance(value, bool) and valid[name].annotation is not bool:
            raise InputError(f"`{name}` must not be true or false. Received: {value}.")


def validated(flat):
    """Return the `Config` of `{dotted name: value}`. Missing values come from `base.yaml`.

    Raises:
        InputError: A name is unknown or a value is out of its range.
    """
    _check_names(flat)
    flat = base_values(flat)
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *sections, last = name.split(".")
        target = nested
        for section in sections:
            target = target.setdefault(section, {})
        target[last] = value
    try:
        return Config.model_validate(nested)
    except ValidationError as error:
        first = error.errors()[0]
        name = first["loc"][0] if first["loc"][0] in flat else ".".join(map(str, first["loc"][:2]))
        raise InputError(f"`{name}`: {first['msg']}. Received: {first['input']!r}.") from None


def read_yaml(path):
    """Return the mapping in a YAML file.

    Raises:
        InputError: There is no such file, or it does not hold a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"A configuration must be a readable YAML file. Received: {path} ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"A configuration must be YAML. Received: {path}, {' '.join(str(error).split())}.") from None
    if not isinstance(values, dict):
        raise InputError(f"A configuration must map names to values. Received: {path}, a {type(values).__name__}.")
    return values


def configs_folder():
    """Return the folder of YAML files: inside an installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "configs"
