"""The command line: `kgan train|prepare|generate|listen|evaluate|reproduce|export|demo|benchmark`. `--help` is fast."""

import argparse
import codecs
import os
import sys
import traceback

from kgan import commands
from kgan.commands import EXIT_BAD_INPUT, EXIT_FAILURE, EXIT_SIGNAL
from kgan.config import PRESETS, configs_folder, fields, flatten, read_yaml
from kgan.errors import InputError, told, unknown_name
from kgan.text import spell_out

SHORT_NAMES = {
    "model": "model",
    "repr": "repr",
    "data": "data.source",
    "size": "size",
    "seed": "seed",
    "steps": "training.steps",
    "minutes": "training.minutes",
    "precision": "training.precision",
    "strategy": "training.strategy",
    "start-from": "training.start_from",
    "callback": "training.callbacks",
}
DEBUG = "--debug"
SMALLER = ("--training.batch_size", "--network.dim", "--batch-size", "--dim", "--count", "--clips", "--processes")
SIGPIPE = 13


def main(arguments=None):
    """Run a command and return its exit code.

    The code is 0 for success, 1 if a part of the work failed or kgan has a bug, 2 for bad input, and 128 + n for signal n,
    such as SIGPIPE for a closed pipe.
    """
    _open_console()
    code = 0
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except OSError as error:  # writing to the console failed
        _drop_unwritable()
        if isinstance(error, BrokenPipeError):
            return EXIT_SIGNAL + SIGPIPE
        code = code or _tell(error)
    return code


def _open_console():
    """Let standard output and error accept any character, and discard all output if they are closed."""
    codecs.register_error("spell_out", spell_out)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  open until Python exits
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="spell_out")


def _drop_unwritable():
    """Discard buffered output that cannot be written. Otherwise Python would try again at exit and print an error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _run(arguments):
    options = None
    try:
        options = _parse(_parser(), arguments)
        return options.command(options)
    except KeyboardInterrupt:
        print("kgan: interrupted.", file=sys.stderr)
        return EXIT_SIGNAL + 2
    except BrokenPipeError:  # the reader has closed the pipe, as in `kgan ... | head -1`
        raise
    except Exception as error:
        if DEBUG in arguments:
            traceback.print_exc()
        traceback.clear_frames(error.__traceback__)  # ends the line of an unfinished progress bar
        known = options.parser._option_string_actions if options else ()
        return _tell(error, [flag for flag in SMALLER if flag in known])


def _tell(error, smaller=()):
    of_input, line = told(error, smaller)
    try:
        print(f"kgan: error: {line}", file=sys.stderr)
    except OSError:
        _drop_unwritable()
    return EXIT_BAD_INPUT if of_input else EXIT_FAILURE


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

    def exit(self, status=0, message=None):
        sys.stdout.flush()
        super().exit(status, message)


def _parser():
    parser = _Parser("kgan", description="Train GANs that synthesise sounds.", allow_abbrev=False)
    _add_debug(parser)
    subparsers = parser.add_subparsers(
        required=True, metavar="train | prepare | generate | listen | evaluate | reproduce | export | demo | benchmark"
    )
    _add_train(subparsers)
    _add_prepare(subparsers)

    command = _add_command(
        subparsers, "generate", commands.generate, "kgan generate runs/drums --count 64 --seed 7 --out drums\n"
        "kgan generate runs/fast_notes --pitch 48-72 --family organ\n"
        "kgan generate saved_models/NAME --interpolate 8\n"
        "kgan generate saved_models/NAME --midi prelude.mid --family organ --sample-rate 44100\n"
        "kgan generate saved_models/NAME --count 1000000 --out shards:million     # resumes after an interruption"
    )  # fmt: skip
    command.add_argument("source", help="a run folder or a SavedModel")
    command.add_argument("--seed", type=_integer(0), default=0, help="random seed; sound i depends only on the seed and i [0]")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--count", type=_integer(1, 10**6), help="number of sounds [16, or 1 per label combination]")
    what.add_argument("--latents", metavar="FILE.npy", help="make sounds from the latents in a file, (count, latent_dim)")
    what.add_argument(
        "--interpolate", type=_integer(2, 10**4), metavar="N", help="make N sounds from the seed's first latent to its second"
    )
    what.add_argument("--midi", metavar="FILE.mid", help="perform a MIDI file; the generator must be trained on pitches")
    asked = command.add_argument_group("labels, for a generator that was trained with them (others are drawn at random)")
    asked.add_argument(
        "--pitch",
        metavar="PITCH",
        help="MIDI pitch, several (60,64,67) or a range (48-72); each sound is made at all of them; with --repr harmonic also"
        " fractional, such as 60.5",
    )
    asked.add_argument("--family", metavar="NAME", help="instrument family, or several, such as organ,flute")
    asked.add_argument("--instrument", metavar="NAME", help="instrument, as named in the data, such as guitar_acoustic_014")
    asked.add_argument(
        "--label", metavar="KIND=VALUE", action="append", default=[], help="any label of the generator, such as class=kick"
    )
    out = "new folder, or shards:FOLDER for many sounds [generated/NAME, NAME-2, ...]"
    command.add_argument("--out", metavar="FOLDER", help=out)
    command.add_argument(
        "--duration",
        type=float,
        metavar="S",
        help="duration of a note in seconds, for a generator of --repr harmonic [the duration of its clips]",
    )
    command.add_argument(
        "--sample-rate",
        type=_integer(1, 384_000),
        metavar="HZ",
        help="sample rate of the WAV files; resampling adds no content above half the generator's rate [the generator's rate]",
    )
    _add_best(command)

    command = _add_command(
        subparsers,
        "listen",
        commands.listen,
        "kgan listen runs/fast_notes\nkgan listen saved_models/NAME --count 8 --out heard",
    )
    command.add_argument("source", help="a run folder or a SavedModel")
    command.add_argument("--count", type=_integer(1, 32), default=10, help="number of pairs [10]")
    command.add_argument("--seed", type=_integer(0), default=0, help="random seed of the latents [0]")
    command.add_argument("--out", metavar="FOLDER", help="new folder [listening/NAME, NAME-2, ...]")
    _add_best(command)

    _add_evaluate(subparsers)
    _add_reproduce(subparsers)

    command = _add_command(
        subparsers, "export", commands.export, "kgan export runs/drums saved_models/drums\n"
        "kgan export runs/drums saved_models/drums --format savedmodel,onnx,litert"
    )  # fmt: skip
    command.add_argument("run", help="a run folder")
    command.add_argument("folder", help="folder of the model; the export becomes its next version: 1, 2, ...")
    command.add_argument(
        "--format", metavar="NAME,...", default="savedmodel", help="further formats, onnx or litert; each is run and compared"
    )
    command.add_argument("--half", action="store_true", help="store the SavedModel's weights as float16, at half the size")
    _add_best(command)

    command = _add_command(
        subparsers, "demo", commands.demo, "kgan demo saved_models/NAME\nkgan demo runs/drums --port 0 --no-browser"
    )
    command.add_argument("source", help="a run folder or a SavedModel")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for other machines [127.0.0.1]")
    command.add_argument("--port", type=_integer(0, 65535), default=8765, help="port; 0 for any free port [8765]")
    command.add_argument("--no-browser", action="store_true", help="do not open a browser")
    _add_best(command)

    _add_benchmark(subparsers)
    return parser


def _add_train(subparsers):
    command = _add_command(
        subparsers, "train", commands.train, "kgan train --preset fast                             # clear notes\n"
        "kgan train --model wgan_gp --repr wave               # the built-in notes\n"
        "kgan train --model dcgan --data ~/my_drums --run runs/drums --steps 20000\n"
        "kgan train --run runs/drums                               # resumes the run\n"
        "kgan train --network.dim 32 --minutes 60                  # any value by its name"
    )  # fmt: skip
    command.usage = (
        "kgan train [-h] [--preset NAME] [--model MODEL] [--repr REPR] [--data DATA] [--run FOLDER] [--NAME VALUE ...]"
    )
    command.add_argument(
        "--run", metavar="FOLDER", help="folder of the run [runs/MODEL_REPR_DATA, or runs/PRESET_DATA with --preset]"
    )
    command.add_argument("--preset", metavar="NAME", help=f"{', '.join(PRESETS)}: use all values of configs/NAME.yaml")
    _add_config(command)
    values = command.add_argument_group("values (in brackets: configs/base.yaml; model, representation and size change some)")
    _add_values(values, fields())


def _add_prepare(subparsers):
    command = _add_command(
        subparsers, "prepare", commands.prepare, "kgan prepare ~/my_drums --out shards/drums\n"
        "kgan prepare nsynth-train.jsonwav.tar.gz --out shards/bass --data.families '[bass]' --data.pitches '[36, 59]'\n"
        "kgan prepare ~/field_recordings --out shards/field --data.overlap 0.5 --processes 8\n"
        "kgan prepare /mnt/sounds --out /mnt/shards --runner FlinkRunner --runner-options '--flink_master=host:8081'"
    )  # fmt: skip
    command.usage = "kgan prepare [-h] SOURCE --out FOLDER [--data.NAME VALUE ...]"
    command.add_argument("source", help="nsynth, nsynth/gansynth_subset, a folder of sounds or an NSynth archive")
    command.add_argument("--out", metavar="FOLDER", required=True, help="folder of the shards; the same command again resumes")
    _add_config(command)
    command.add_argument("--processes", type=_integer(1, 1024), default=-1, help="number of processes [one per core]")
    command.add_argument("--runner", help="Apache Beam runner, such as DirectRunner; its workers need access to both folders")
    command.add_argument("--runner-options", metavar="TEXT", default="", help="arguments of the Beam pipeline")
    of_data = {name: field for name, field in fields().items() if name.startswith("data.") and name != "data.source"}
    _add_values(command.add_argument_group("values (in brackets: configs/base.yaml)"), {"seed": fields()["seed"]} | of_data)


def _add_evaluate(subparsers):
    command = _add_command(
        subparsers, "evaluate", commands.evaluate, "kgan evaluate runs/a runs/b --out table.md    # and .csv, .json, .png\n"
        "kgan evaluate WaveGAN=their_wavs/ mine=saved_models/notes --data nsynth\n"
        "kgan evaluate runs/c table.json --out all.md     # adds a row to an earlier table\n"
        "kgan evaluate runs/a --metrics diversity,ndb     # these need no labels"
    )  # fmt: skip
    command.usage = "kgan evaluate [-h] SOURCE [SOURCE ...] [--data DATA] [--out FILE] [--NAME VALUE ...]"
    command.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="a run, a SavedModel, a folder of sounds or an earlier table.json; NAME=SOURCE gives it a name",
    )
    command.add_argument("--out", metavar="FILE", help="write the table to new files of this name: .md, .csv, .json and .png")
    _add_best(command)
    _add_scoring(command)
    _add_config(command)
    of_data = {name: field for name, field in fields().items() if name == "seed" or name.startswith("data.")}
    del of_data["data.split"]
    _add_values(
        command.add_argument_group(
            "the real sounds (in brackets: configs/base.yaml); without --data, those that the sources were trained on"
        ),
        of_data,
    )


def _add_reproduce(subparsers):
    command = _add_command(
        subparsers, "reproduce", commands.reproduce, "kgan reproduce --size small --training.cpu_minutes 40\n"
        "kgan reproduce --size full --data nsynth --out runs/nsynth     # needs a GPU and takes days"
    )  # fmt: skip
    command.usage = "kgan reproduce [-h] [--out FOLDER] [--size SIZE] [--data DATA] [--NAME VALUE ...]"
    command.add_argument(
        "--out",
        metavar="FOLDER",
        default="runs/table",
        help="folder of the runs and of table.md; the same command again resumes [runs/table]",
    )
    _add_scoring(command)
    command.set_defaults(best=False)
    _add_config(command)
    shared = {name: field for name, field in fields().items() if name not in ("model", "repr", "data.split")}
    _add_values(command.add_argument_group("values of all four runs (in brackets: configs/base.yaml)"), shared)


def _add_benchmark(subparsers):
    summary = "Measure the speed of a part of kgan and of its alternatives."
    parts = subparsers.add_parser("benchmark", help=summary, description=summary, allow_abbrev=False)
    _add_debug(parts)
    parts = parts.add_subparsers(required=True, metavar="pipeline | train | scaling | learning | generate | serve")

    example = "kgan benchmark pipeline --clips 100000 --json out.json"
    command = _add_part(parts, "pipeline", commands.benchmark_pipeline, example, rounds=3)
    command.add_argument("--clips", type=_integer(1000), default=6872, help="clips in the shards, 32 KiB each on disk [6872]")
    command.add_argument("--seconds", type=float, default=5.0, help="duration of each measurement [5]")

    example = "kgan benchmark train --dim 32 --against torch --json out.json"
    command = _add_part(parts, "train", commands.benchmark_train, example, rounds=5)
    _add_contest(command)
    command.add_argument("--batch-size", type=_integer(2), default=64, help="examples in a critic step [64]")
    command.add_argument("--precision", default="auto", help="precision of kgan's networks [auto]")
    command.add_argument("--iterations", type=_integer(1), default=2, help="iterations per measurement [2]")

    command = _add_part(parts, "scaling", commands.benchmark_scaling, "kgan benchmark scaling --out scaling.png", rounds=5)
    command.add_argument("--precision", default="auto", help="precision of the networks [auto]")
    command.add_argument("--out", metavar="FILE.png", help="plot seconds against operations in this file")

    example = "kgan benchmark replicas --dim 16 --batch-size 32"
    command = _add_part(parts, "replicas", commands.benchmark_replicas, example, rounds=3)
    command.add_argument("--dim", type=_integer(1), default=16, help="width of the networks [16]")
    command.add_argument("--batch-size", type=_integer(2), default=32, help="examples in a critic step, over all replicas [32]")
    command.add_argument("--iterations", type=_integer(1), default=8, help="iterations per measurement [8]")

    example = "kgan benchmark learning runs/fast_notes runs/hq_notes --out learning.png"
    command = _add_command(parts, "learning", commands.benchmark_learning, example)
    command.add_argument("runs", nargs="+", metavar="RUN", help="run folders, trained with --scores.every_steps")
    command.add_argument("--out", metavar="FILE.png", default="learning.png", help="file of the plot [learning.png]")
    clocks = ["minutes", "cpu_minutes"]
    command.add_argument("--over", choices=clocks, default="minutes", help="wall-clock or CPU minutes of all cores [minutes]")

    example = "kgan benchmark generate --dim 32 --against torch --json out.json"
    command = _add_part(parts, "generate", commands.benchmark_generate, example, rounds=5)
    _add_contest(command)
    command.add_argument("--seconds", type=float, default=2.0, help="duration of each measurement [2]")

    example = "kgan benchmark serve grpc://localhost:8500 --clients 8"
    command = _add_command(parts, "serve", commands.benchmark_serve, example)
    command.add_argument("address", help="http://host:8501 or grpc://host:8500")
    command.add_argument("--model", default="kgan", help="name of the model on the server [kgan]")
    command.add_argument("--clients", type=_integer(1, 1000), default=8, help="number of simultaneous clients [8]")
    command.add_argument("--seconds", type=float, default=60.0, help="duration of the benchmark [60]")
    command.add_argument("--count", type=_integer(1, 256), default=1, help="sounds in a request [1]")
    command.add_argument("--latent-dim", type=_integer(1), help="send latents of this width, instead of seeds without batching")
    _add_json(command)


def _add_part(parts, name, function, example, rounds):
    command = _add_command(parts, name, function, example)
    command.add_argument("--rounds", type=_integer(1), default=rounds, help=f"measurements of each [{rounds}]")
    _add_json(command)
    return command


def _add_json(command):
    command.add_argument("--json", metavar="FILE", help="also write the results to this file")


def _add_contest(command):
    command.add_argument("--dim", type=_integer(1), default=32, help="width of the networks [32]")
    command.add_argument("--against", choices=["torch"], help="compare with PyTorch, in float32 and bfloat16, in both layouts")


def _add_debug(command):
    command.add_argument(DEBUG, action="store_true", help="show the traceback of an error")


def _add_config(command):
    command.add_argument("--config", metavar="FILE.yaml", nargs="+", default=[], help="files with changes to configs/base.yaml")


def _add_best(command):
    command.add_argument("--best", action="store_true", help="use the best checkpoint of a run by score, not the latest")


def _add_scoring(command):
    command.add_argument("--count", type=_integer(2, 10**6), default=5000, help="sounds of each source [5000]")
    command.add_argument(
        "--metrics",
        metavar="NAME,...",
        help="some of inception, label, diversity, frechet, ndb, pitch, envelope and musicnn [all except musicnn]",
    )
    command.add_argument("--classifier", default="mel", help="mel, or wave, that of the published study [mel]")
    command.add_argument("--label", help="label that the classifier predicts [family, else class, else the first]")


def _add_values(group, named_fields):
    base = flatten(read_yaml(configs_folder() / "base.yaml"))
    short = {name: f"--{option}" for option, name in SHORT_NAMES.items()}
    for name, field in named_fields.items():
        flags = list(dict.fromkeys((*([short[name]] if name in short else []), f"--{name}")))
        default = "null" if base[name] is None else base[name]
        help_text = f"{field.description} [{default}]".replace("%", "%%")
        group.add_argument(*flags, dest=name, metavar="VALUE", default=argparse.SUPPRESS, help=help_text)


def _add_command(subparsers, name, function, examples):
    summary = function.__doc__
    epilog = "examples:\n" + "\n".join(f"  {line}" for line in examples.splitlines())
    command = subparsers.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_debug(command)
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
