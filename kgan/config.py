"""The experiment as typed data: every value that a run depends on.

The values themselves are in `configs/`: `base.yaml` holds all of them, `dcgan.yaml`, `wgan.yaml` and `wgan_gp.yaml` what a
model changes, `wave.yaml`, `spec.yaml`, `logspec.yaml` and `melif.yaml` what a representation changes, `small.yaml` and
`full.yaml` what a size changes. `fast.yaml`, `hq.yaml`, `paper.yaml` and others are presets: whole experiments. A run's
`config.yaml` holds the resolved whole.
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
WITHOUT_PITCH = {"fast": "fast_melif", "hq": "hq_melif"}  # what a preset is for sounds whose pitch is not known

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


def _names(value):
    """Return the list that a text means, such as `pitch,family`."""
    return value.split(",") if isinstance(value, str) and value != "auto" else value


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())


class Data(Section):
    source: str = Field(description="notes, nsynth, nsynth/gansynth_subset, or a path: sounds, shards, an archive of NSynth")
    split: Literal["train", "valid", "test"] | None = Field(
        description="of a named set, or of a folder that has folders called so; null: train"
    )
    labels_csv: str | None = Field(description="CSV file with the column `file` and labels of a folder's files")
    sample_rate_hz: PositiveInt = Field(description="samples per second")
    length_samples: PositiveInt = Field(description="samples of a clip; for wave 16 times a power of two: 8192, 16384...")
    channels: Literal[1, 2] = Field(description="1 for mono, 2 for stereo")
    slicing: Literal["all", "first", "random"] = Field(description="which clips of a long file: all, the first, a random one")
    overlap: Fraction = Field(description="share of a clip that the next one repeats")
    pad_end: bool = Field(description="whether a last clip that is at least half sound is filled up with zeros")
    silence_db: Annotated[float, Field(le=0)] | None = Field(description="clips with a lower peak are left out; null keeps all")
    normalize: bool = Field(description="whether each file's peak is brought to full scale")
    families: list[str] | None = Field(description="take these instrument families alone, such as [bass, organ]")
    sources: list[str] | None = Field(description="take these sources alone: [acoustic, electronic, synthetic]")
    pitches: tuple[int, int] | None = Field(description="take MIDI pitches from the first to the second alone: [48, 59]")
    velocities: list[int] | None = Field(description="take these MIDI velocities alone")


class Augment(Section):
    gain_db: NotNegative = Field(description="change the level by up to so many decibels, down or up")
    polarity: bool = Field(description="turn waveforms upside down, every second by chance")
    pitch_semitones: NotNegative = Field(description="play up to so many semitones slower or faster")
    shift_samples: Annotated[int, Field(ge=0)] = Field(description="begin up to so many samples earlier or later")
    fade_samples: Annotated[int, Field(ge=0)] = Field(description="fade in and out over so many samples")
    frequency_mask_bins: Annotated[int, Field(ge=0)] = Field(description="spectrograms: silence up to so many bins")
    time_mask_frames: Annotated[int, Field(ge=0)] = Field(description="spectrograms: silence up to so many frames")


class Representation(Section):
    fft_samples: PositiveInt | None = Field(description="spec, logspec, melif: length of a transform, a power of two")
    hop_samples: PositiveInt | None = Field(description="spec, logspec, melif: from one transform to the next")
    companding: Literal["log", "raw"] | None = Field(
        description="spec: log brings magnitudes into tanh's range, raw leaves them as first published"
    )
    griffin_lim_iterations: Annotated[int, Field(ge=0)] | None = Field(description="logspec, melif: when decoding")
    components: PositiveInt | None = Field(description="harmonic: components of the levels of partials and noise")


class Network(Section):
    dim: PositiveInt = Field(description="width of the networks: channels of their narrowest layer")
    latent_dim: PositiveInt = Field(description="width of the latents")
    kernel_size: PositiveInt = Field(description="taps of the convolutions")
    generator_activation: Literal["relu", "leaky_relu"] = Field(description="relu, or leaky_relu of slope 0.2")
    weight_stddev: Positive | None = Field(description="of normal initial weights; null: Glorot uniform ones")
    phase_shuffle: int = Field(ge=0, description="wave: radius in samples of the critic's phase shuffle; 0: none")
    phase_shuffle_per: Literal["example", "batch"] = Field(description="what draws a shift of its own")
    pixel_norm: bool = Field(description="whether the generator's activations are normalised at each position")
    minibatch_stddev: Annotated[int, Field(ge=0)] = Field(
        description="examples of which the critic sees how much they differ; a divisor of the batch; 0: none"
    )


class Gan(Section):
    n_critic: PositiveInt = Field(description="critic steps in an iteration")
    latent_distribution: Literal["normal", "uniform"] = Field(description="normal: N(0, 1); uniform: U(-1, 1)")
    ema_decay: Fraction | None = Field(description="of the running average of the generator's weights; null: none")
    reconstruction_weight: Annotated[float, Field(ge=0)] = Field(
        description="in the generator's loss, of the squared distance from a real example to the nearest fake with its labels"
    )
    clip_value: Positive | None = Field(description="wgan: largest weight of the critic")
    gradient_penalty_weight: Positive | None = Field(description="wgan_gp: lambda")
    r1_gamma: Positive | None = Field(description="r1: weight of the penalty on slopes at real examples")
    r1_interval: PositiveInt | None = Field(description="r1: iterations from one such penalty to the next")
    loss: Literal["logistic", "hinge", "least_squares"] | None = Field(description="dcgan, r1: what the critic classifies by")


class Conditioning(Section):
    labels: Annotated[Literal["auto"] | list[str] | None, BeforeValidator(_names)] = Field(
        description="what one can ask for, such as pitch,family; auto: these, instrument, velocity, class, where known; null"
    )
    critic: Literal["auxiliary", "projection"] = Field(
        description="how the critic sees labels: by a classifier, or a projection"
    )
    weight: Positive = Field(description="of the auxiliary classifier's cross-entropy in both losses")
    label_gain: Positive = Field(description="what labels are multiplied by beside the latents; 10: one is as strong as 100")


class Optimizer(Section):
    name: Literal["adam", "rmsprop"] = Field(description="adam or rmsprop, for both networks")
    learning_rate: Positive = Field(description="of both networks")
    critic_learning_rate: Positive | None = Field(description="of the critic, if another; null: the same")
    beta_1: Fraction = Field(description="adam: decay of the first moment")
    beta_2: Fraction = Field(description="adam: decay of the second moment")


class Training(Section):
    start_from: str | None = Field(description="a run or a SavedModel whose networks and settings to begin with")
    batch_size: PositiveInt = Field(description="examples in a critic step")
    steps: PositiveInt | None = Field(description="iterations after which the run ends; null: no such end")
    minutes: Positive | None = Field(description="training time after which the run ends; null: no such end")
    cpu_minutes: Positive | None = Field(description="processor time, over all cores, after which the run ends; null: none")
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = Field(
        description="of the networks' inner layers; auto measures which is fastest here"
    )
    strategy: Literal["auto", "one", "mirrored", "multiworker"] = Field(
        description="auto: what is there; one; mirrored: all GPUs here; multiworker: processes by TF_CONFIG or SLURM"
    )
    log_steps: PositiveInt = Field(description="iterations of an epoch, for each of which there is a row in history.csv")
    preview_steps: PositiveInt = Field(description="iterations between sounds and pictures in samples/")
    preview_count: PositiveInt = Field(description="sounds in a preview")
    checkpoint_minutes: Positive = Field(description="between checkpoints; the most that a crash can lose")
    callbacks: Annotated[list[str] | None, BeforeValidator(_names)] = Field(
        description="Keras callbacks of your own, such as mine:Callback, of mine.py in the working directory; null: none"
    )


class Scores(Section):
    every_steps: PositiveInt | None = Field(description="iterations between rows of scores.csv; null: none, they take a while")
    sounds: Annotated[int, Field(ge=50)] = Field(description="sounds to score")
    monitor: Literal["inception_score", "frechet_distance", "kernel_distance", "pitched", "harmonicity"] | None = Field(
        description="the score that decides which checkpoint is kept as the best; null: frechet_distance, or else harmonicity"
    )
    patience: PositiveInt | None = Field(description="scores without a better one after which the run ends; null: no such end")


class Config(Section):
    """An experiment. `load_config` makes one, `to_yaml` writes it."""

    model: str = Field(description="dcgan, wgan, wgan_gp or r1")
    repr: str = Field(description="wave, spec, logspec, melif, or harmonic for sounds of known pitch")
    size: Literal["auto", "small", "full"] = Field(description="small suits a laptop; full is the published size")
    seed: int = Field(ge=0, lt=2**32, description="of weights, order, latents: of all that is random")
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


# What a run may change when it goes on: how long it lasts and what it tells, nothing that its weights depend on.
CHANGEABLE = {
    "training.steps", "training.minutes", "training.cpu_minutes", "training.strategy", "training.log_steps",
    "training.preview_steps", "training.preview_count", "training.checkpoint_minutes", "training.callbacks",
    "scores.every_steps", "scores.sounds", "scores.monitor", "scores.patience",
}  # fmt: skip
BUDGET = {"training.steps", "training.minutes", "training.cpu_minutes"}


def fields(model=Config, prefix=""):
    """Return `{dotted name: field}` for every scalar of the configuration."""
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
    """Resolve a configuration: base, the model's, the representation's and the size's changes, then `files`, then `overrides`.

    Args:
        overrides: `{dotted name: value}`; a text is read as YAML, so that `"null"` and `"1e-4"` mean what they say, except
            where a text is asked for. A folder of sounds is made absolute.
        files: YAML files of changes, the later the stronger.
        accelerated: whether there is a GPU, which makes the size `auto` the full one.

    Returns:
        A `Config` whose size is no longer `auto`.

    Raises:
        InputError: a name is unknown or a value is out of its range; the nearest valid name is suggested.
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
    if BUDGET & set(told):  # a budget that is told replaces the size's own
        resolved |= dict.fromkeys(BUDGET)
    return validated(resolved | told)


# What has an effect only beside another value: `{option: (other option, whether its value gives it one, in words)}`.
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
    """Raise an error where an option that was asked for has no effect beside the others.

    Args:
        asked: dotted names.
        config: the resolved `Config`.

    Raises:
        InputError: one has none.
    """
    flat = flatten(config.model_dump())
    for name in asked:
        other, gives_effect, in_words = DEPENDENT.get(name, (None, None, None))
        if other and not gives_effect(flat[other]):
            raise InputError(
                f"`{name}` has an effect only where `{other}` is {in_words}. Received: {flat[name]} beside {flat[other]}."
            )


def told_values(overrides, files=()):
    """Return `{dotted name: value}` of files and overrides together, see `load_config`."""
    told = {}
    for file in files:
        told |= flatten(read_yaml(Path(file)))
    overrides = {name: _parsed(name, value) for name, value in overrides.items()}
    if BUDGET & set(overrides):  # a budget that is told replaces that of a file
        told = {name: value for name, value in told.items() if name not in BUDGET}
    told |= overrides
    _check_names(told)
    for name in ("data.source", "data.labels_csv", "training.start_from"):
        if isinstance(told.get(name), str) and told[name] not in DATA_SETS and "://" not in told[name]:
            told[name] = str(Path(told[name]).expanduser().resolve())
    return told


def all_values(values, preset=None, files=()):
    """Return `{dotted name: value}` of a preset, files and values, the later the stronger.

    Raises:
        InputError: a preset or a name is unknown, or a file cannot be read.
    """
    if preset is not None:
        check_choice("preset", preset, PRESETS)
        files = [configs_folder() / f"{preset}.yaml", *files]
    return told_values(values or {}, files)


def base_values(told):
    """Return `{dotted name: value}` of what is told, and of `base.yaml` where nothing is."""
    return flatten(read_yaml(configs_folder() / "base.yaml")) | told


def _parsed(name, value):
    """Return a text as the YAML value it means, unless the field is a text itself: a path may look like YAML."""
    if isinstance(value, str) and not value.strip():
        raise InputError(f"`{name}` must have a value; null is none. Received: an empty text.")
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
            raise InputError(f"`{name}` is neither true nor false. Received: {value}.")


def validated(flat):
    """Return the `Config` of `{dotted name: value}`; what is missing has the value of `base.yaml`.

    Raises:
        InputError: a name is unknown or a value is out of its range.
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
        InputError: there is no such file, or it holds no mapping.
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
    """Return the folder of YAML files: inside the package where it is installed, beside it in a checkout."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "configs"
