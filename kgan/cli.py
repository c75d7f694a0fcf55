"""The command line: `kgan train|prepare|generate|export|benchmark`. `--help` answers at once."""

import argparse
import shlex
import sys
import zipfile
from pathlib import Path

from kgan.config import configs_folder, fields, flatten, read_yaml, told_values
from kgan.errors import InputError, unknown_name
from kgan.quiet import import_tensorflow_quietly

SHORT_NAMES = {
    "model": "model",
    "repr": "repr",
    "data": "data.source",
    "size": "size",
    "seed": "seed",
    "steps": "training.steps",
    "minutes": "training.minutes",
    "precision": "training.precision",
}
EXIT_FAILURE, EXIT_BAD_INPUT, EXIT_SIGNAL = 1, 2, 128


def main(arguments=None):
    """Run a command and return its exit code: 0, 1 where training failed, 2 for bad input, 128 + n for signal n."""
    try:
        options = _parse(_parser(), sys.argv[1:] if arguments is None else arguments)
        return options.command(options)
    except InputError as error:
        print(f"kgan: error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"kgan: error: {error}. What was saved before is kept.", file=sys.stderr)
    except KeyboardInterrupt:
        print("kgan: interrupted.", file=sys.stderr)
        return EXIT_SIGNAL + 2
    return EXIT_BAD_INPUT


def train(options):
    """Train a GAN, or go on with a run."""
    overrides = {name: value for name, value in vars(options).items() if name in fields()}
    told = told_values(overrides, options.config)
    import_tensorflow_quietly()
    from kgan.training.run_folder import RunFolder, new_config
    from kgan.training.train import train as train_run

    run = RunFolder(options.run or _default_run(told))
    config, lines = (run.resumed_config(told), []) if run.exists() else new_config(told)
    for line in lines:
        print(line, flush=True)
    with run.lock():
        outcome = train_run(config, run)
    if outcome.failure:
        kept = (
            f"The last good checkpoint is in {run.checkpoints}." if run.checkpoints.exists() else "No checkpoint came before."
        )
        print(f"kgan: error: {outcome.failure} {kept}", file=sys.stderr)
        return EXIT_FAILURE
    ended = "was interrupted after" if outcome.signal_number else "has done"
    print(f"{run.path} {ended} {outcome.step:,} iterations. To go on, for 60 minutes in all, or to hear more:")
    print(f"  {_command('train', '--run', run.path, '--minutes', 60)}")
    print(f"  {_command('generate', run.path, '--count', 64)}")
    print("Larger networks: --size full, with another --run.")
    return EXIT_SIGNAL + outcome.signal_number if outcome.signal_number else 0


def generate(options):
    """Make sounds with a run or a SavedModel; no data set is needed."""
    out = Path(options.out or Path("generated") / Path(options.source).resolve().name).expanduser()
    if out.exists():
        raise InputError(f"Sounds go to a new folder, to overwrite none. Received: {out}, which exists. Give another --out.")
    import_tensorflow_quietly()
    import numpy as np

    from kgan.audio.files import write_sounds
    from kgan.audio.pictures import SHOWN_CLIPS, contact_sheet
    from kgan.synthesizer import interpolate
    from kgan.training.run_folder import load_synthesizer

    synthesizer = load_synthesizer(options.source)
    if options.latents:
        latents = _read_latents(options.latents, synthesizer.latent_dim)
    elif options.interpolate:
        ends = synthesizer.latents(2, options.seed)
        latents = interpolate(*ends, options.interpolate, synthesizer.latent_distribution)
    else:
        latents = synthesizer.latents(options.count or 16, options.seed)
    audio = synthesizer.generate(latents, progress=True)
    rate_hz = synthesizer.sample_rate_hz
    sheet = contact_sheet(audio, rate_hz, synthesizer.levels_db(latents[:SHOWN_CLIPS]))
    write_sounds(out, audio, rate_hz, np.asarray(latents), sheet)
    print(f"{len(audio)} sounds, their latents and a contact sheet are in {out}.")
    return 0


def export(options):
    """Write a run as a SavedModel that TensorFlow Serving loads."""
    import_tensorflow_quietly()
    from kgan.training.run_folder import export_run

    print(f"Exported {export_run(options.run, options.folder)}.")
    return 0


def prepare(options):
    """Write sounds as shards, which --data takes, too: once, in parallel, resumable."""
    overrides = {name: value for name, value in vars(options).items() if name in fields()}
    told = told_values(overrides | {"data.source": options.source}, options.config)
    import_tensorflow_quietly()
    from kgan.config import load_config
    from kgan.data.prepare import prepare as prepare_shards
    from kgan.data.sources import find_source
    from kgan.training.build import build_clipping, build_filter

    config = load_config(told)
    source = find_source(config.data.source, config.data.split, config.data.labels_csv)
    clipping, filters = build_clipping(config), build_filter(config)
    runner_options = shlex.split(options.runner_options)
    manifest = prepare_shards(source, options.out, clipping, filters, options.processes, options.runner, runner_options)
    for name, reason in manifest["skipped"].items():
        print(f"  skipped: {name} {reason}")
    used = manifest["recordings"] - len(manifest["skipped"])
    print(f"{manifest['clips']:,} clips of {used:,} sounds are in {options.out}; {len(manifest['skipped']):,} were skipped.")
    return 0


def benchmark(options):
    """Measure the speed of a part of kgan beside what people would otherwise use."""
    import_tensorflow_quietly()
    from kgan.benchmarks.pipeline import benchmark_pipeline

    benchmark_pipeline(options.clips, options.seconds, options.rounds, options.json)
    return 0


def _read_latents(path, latent_dim):
    import numpy as np

    try:
        latents = np.load(path, allow_pickle=False)
        numeric = latents.dtype.kind in "fiu"
    except (OSError, EOFError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"Latents must be in a .npy file. Received: {path} ({error}).") from None
    if latents.ndim != 2 or latents.shape[1] != latent_dim or not len(latents) or not numeric:
        raise InputError(f"Latents must be numbers (count, {latent_dim}). Received: {path}, {latents.dtype} {latents.shape}.")
    with np.errstate(over="ignore"):
        latents = latents.astype(np.float32)
    if not np.isfinite(latents).all():
        raise InputError(f"Latents must be finite. Received: {path}, with NaN or infinity.")
    return latents


def _default_run(told):
    base = flatten(read_yaml(configs_folder() / "base.yaml")) | told
    return Path("runs") / f"{base['model']}_{base['repr']}_{Path(base['data.source']).name}"


def _command(name, *arguments):
    """Return the line that runs a command as this one was run: by the same Python, from a script or as `kgan`."""
    started = Path(sys.argv[0])
    if started.parent.name == "scripts":
        python = Path(sys.executable)
        here = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
        program = [here, started.with_name(f"{name}.py")]
    else:
        program = [started if started.name == "kgan" else "kgan", name]
    return shlex.join(map(str, [*program, *arguments]))


def _integer(low, high=2**63 - 1):
    def integer(text):
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be from {low} to {high}. Received: {text}")
        return value

    return integer


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise InputError(f"{message}. See `{self.prog} --help`.")


def _parser():
    parser = _Parser("kgan", description="Train GANs that synthesise sounds.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="train | prepare | generate | export | benchmark")
    _add_train(commands)

    _add_prepare(commands)

    command = _add_command(
        commands, "generate", generate, "kgan generate runs/drums --count 64 --seed 7 --out drums\n"
        "kgan generate saved_models/NAME --interpolate 8"
    )  # fmt: skip
    command.add_argument("source", help="a run folder or a SavedModel")
    command.add_argument("--seed", type=_integer(0), default=0, help="the same seed makes the same sounds, however many [0]")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--count", type=_integer(1, 10**6), help="how many sounds [16]")
    what.add_argument("--latents", metavar="FILE.npy", help="make these latents sound, (count, latent_dim)")
    what.add_argument(
        "--interpolate", type=_integer(2, 10**4), metavar="N", help="N sounds on the way from the seed's first to its second"
    )
    command.add_argument("--out", metavar="FOLDER", help="a new folder; generated/NAME unless given")

    command = _add_command(commands, "export", export, "kgan export runs/drums saved_models/drums")
    command.add_argument("run", help="a run folder")
    command.add_argument("folder", help="the model's folder; the export becomes its next version: 1, 2, ...")

    command = _add_command(commands, "benchmark", benchmark, "kgan benchmark pipeline --clips 100000 --json pipeline.json")
    command.add_argument("what", choices=["pipeline"], help="pipeline: clips per second that reach a training step")
    command.add_argument("--clips", type=_integer(1000), default=6872, help="clips in the shards, 32 KiB each on disk [6872]")
    command.add_argument("--seconds", type=float, default=5.0, help="of each measurement [5]")
    command.add_argument("--rounds", type=_integer(1), default=3, help="how often each is measured, in turns [3]")
    command.add_argument("--json", metavar="FILE", help="write the figures there, too")
    return parser


def _add_train(commands):
    command = _add_command(
        commands, "train", train, "kgan train --model wgan_gp --repr wave               # the built-in notes\n"
        "kgan train --model dcgan --data ~/my_drums --run runs/drums --steps 20000\n"
        "kgan train --run runs/drums                               # goes on where it stopped\n"
        "kgan train --network.dim 32 --minutes 60                  # any value by its name"
    )  # fmt: skip
    command.usage = "kgan train [-h] [--model MODEL] [--repr REPR] [--data DATA] [--run FOLDER] [--NAME VALUE ...]"
    command.add_argument("--run", metavar="FOLDER", help="the run's folder; runs/MODEL_REPR_DATA unless given")
    command.add_argument("--config", metavar="FILE.yaml", nargs="+", default=[], help="files of changes to configs/base.yaml")
    values = command.add_argument_group("values (in brackets: configs/base.yaml; the model's and the size's file change some)")
    _add_values(values, fields())


def _add_prepare(commands):
    command = _add_command(
        commands, "prepare", prepare, "kgan prepare ~/my_drums --out shards/drums\n"
        "kgan prepare nsynth-train.jsonwav.tar.gz --out shards/bass --data.families '[bass]' --data.pitches '[36, 59]'\n"
        "kgan prepare ~/field_recordings --out shards/field --data.overlap 0.5 --processes 8\n"
        "kgan prepare /mnt/sounds --out /mnt/shards --runner FlinkRunner --runner-options '--flink_master=host:8081'"
    )  # fmt: skip
    command.usage = "kgan prepare [-h] SOURCE --out FOLDER [--data.NAME VALUE ...]"
    command.add_argument("source", help="nsynth, nsynth/gansynth_subset, a folder of sounds, or an archive of NSynth")
    command.add_argument("--out", metavar="FOLDER", required=True, help="the folder of shards; the same again resumes")
    command.add_argument("--config", metavar="FILE.yaml", nargs="+", default=[], help="files of changes to configs/base.yaml")
    command.add_argument("--processes", type=_integer(1, 1024), default=-1, help="how many [one for each core]")
    command.add_argument("--runner", help="Apache Beam's, such as DirectRunner; its workers must see both folders")
    command.add_argument("--runner-options", metavar="TEXT", default="", help="arguments of Beam's pipeline")
    of_data = {name: field for name, field in fields().items() if name.startswith("data.") and name != "data.source"}
    _add_values(command.add_argument_group("values (in brackets: configs/base.yaml)"), {"seed": fields()["seed"]} | of_data)


def _add_values(group, named_fields):
    base = flatten(read_yaml(configs_folder() / "base.yaml"))
    short = {name: f"--{option}" for option, name in SHORT_NAMES.items()}
    for name, field in named_fields.items():
        flags = list(dict.fromkeys((*([short[name]] if name in short else []), f"--{name}")))
        default = "null" if base[name] is None else base[name]
        help_text = f"{field.description} [{default}]".replace("%", "%%")
        group.add_argument(*flags, dest=name, metavar="VALUE", default=argparse.SUPPRESS, help=help_text)


def _add_command(commands, name, function, examples):
    summary = function.__doc__
    epilog = "examples:\n" + "\n".join(f"  {line}" for line in examples.splitlines())
    command = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(command=function, parser=command)
    return command


def _parse(parser, arguments):
    options, unknown = parser.parse_known_args(arguments)
    for argument in unknown:
        if argument.startswith("--"):
            known = [flag for flag in options.parser._option_string_actions if flag.startswith("--")]
            raise unknown_name("option", argument.partition("=")[0], known)
        raise InputError(f"Unexpected argument: {argument}")
    return options


if __name__ == "__main__":
    sys.exit(main())
