"""The commands, called with the options that `kgan.cli` parsed. TensorFlow is imported only when work starts."""

import itertools
import math
import os
import shlex
import subprocess
import sys
import threading
import webbrowser
import zipfile
from collections import Counter
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from kgan.config import all_values, base_values, check_effective, fields, flatten, read_yaml, told_values
from kgan.errors import InputError, check_choice
from kgan.quiet import import_tensorflow_quietly
from kgan.text import one_line, printable

EXIT_FAILURE, EXIT_BAD_INPUT, EXIT_SIGNAL = 1, 2, 128
SHARDS = "shards:"  # prefix of a folder for shards in `generate --out`
LARGEST_COUNT = 100_000  # sounds in memory, and files in a folder
EXPERIMENTS = {  # the rows of the published table, in its order
    "DCGAN": ("dcgan", "wave"),
    "WGAN": ("wgan", "wave"),
    "WGAN-GP": ("wgan_gp", "wave"),
    "WGAN-GP over spectrograms": ("wgan_gp", "spec"),
}


def train(options):
    """Train a GAN, or resume a run."""
    told = all_values(_overrides(options), options.preset, options.config)  # reports bad options before importing TensorFlow
    import_tensorflow_quietly()
    from kgan.training import start
    from kgan.training.run_folder import RunFolder

    run = RunFolder(options.run or _default_run(told, options.preset))
    outcome = start.train(run.path, _overrides(options), preset=options.preset, files=options.config)
    if outcome.failure:
        return EXIT_FAILURE
    code = EXIT_SIGNAL + outcome.signal_number if outcome.signal_number else 0
    if not outcome.wrote:
        return code
    config = run.read_config()
    ended, more = "has done", _as_much_again(config.training, outcome.step)
    if outcome.signal_number:
        ended, more = "was interrupted after", []
    print(one_line(f"{run.path} {ended} {outcome.step:,} iterations. To resume, or to generate sounds:"))
    print(f"  {_command('train', '--run', run.path, *more)}")
    print(f"  {_command('generate', run.path, '--count', 64)}")
    print(f"For larger networks, use --network.dim {2 * config.network.dim} with a new --run.")
    return code


def _as_much_again(training, step):
    """Return the options that double the spent budget of a run."""
    if training.steps and step >= training.steps:
        return ["--steps", 2 * training.steps]
    options = {"--minutes": training.minutes, "--training.cpu_minutes": training.cpu_minutes}
    return [each for option, budget in options.items() if budget for each in (option, f"{2 * budget:g}")]


def _asked(options):
    """Return the names of the values requested by options. Those of a file do not count, because it may hold all values."""
    return set(told_values(_overrides(options)))


def generate(options):
    """Generate sounds with a run or a SavedModel; no data set is needed."""
    shards = _shards_folder(options)
    if options.sample_rate and shards:
        raise InputError(f"--sample-rate is for WAV files. Received: --sample-rate with --out {SHARDS}FOLDER.")
    out = None if shards else _new_folder(options, "generated")
    import_tensorflow_quietly()
    import numpy as np

    from kgan.audio.files import write_sounds
    from kgan.audio.pictures import SHOWN_CLIPS, contact_sheet
    from kgan.bulk import each_with_all, generate_shards
    from kgan.synthesizer import interpolate
    from kgan.training.run_folder import load

    synthesizer = load(options.source, options.best)
    asked = {kind: synthesizer.parsed(kind, text) for kind, text in _asked_labels(options)}
    if options.duration is not None and (options.midi or shards):
        raise InputError("--duration is for sounds in files. Received: --duration with --midi or --out shards:FOLDER.")
    if options.midi:
        return _perform(options, synthesizer, asked, out)
    combinations = math.prod(map(len, asked.values()))
    count = options.count or (1 if combinations > 1 else 16)
    if shards:
        manifest = generate_shards(synthesizer, shards, count, options.seed, asked)
        print(one_line(f"{manifest['clips']:,} sounds are in {shards}, as shards that --data takes, too."))
        return 0
    if options.latents:
        latents = _read_latents(options.latents, synthesizer.latent_dim)
    elif options.interpolate:
        ends = synthesizer.latents(2, options.seed)
        latents = interpolate(*ends, options.interpolate, synthesizer.latent_distribution)
        _, once = each_with_all(synthesizer, np.arange(1), asked, options.seed)  # labels drawn at random stay constant
        asked |= {kind: values for kind, values in once.items() if kind not in asked}
    else:
        latents = synthesizer.latents(count, options.seed)
    of, labels = each_with_all(synthesizer, np.arange(len(latents) * combinations), asked, options.seed)
    latents = np.asarray(latents)[of]
    pitches = labels.get("pitch", np.zeros(0))
    if options.duration is not None or not np.isin(pitches, synthesizer.labels.values.get("pitch", ())).all():
        audio = synthesizer.play(latents, labels, duration_s=options.duration, progress=True)
    else:
        audio = synthesizer.generate(latents, labels, progress=True)
    rate_hz = synthesizer.sample_rate_hz
    shown = {kind: values[:SHOWN_CLIPS] for kind, values in labels.items()}
    sheet = contact_sheet(audio, rate_hz, synthesizer.levels_db(latents[:SHOWN_CLIPS], shown))
    write_sounds(out, audio, rate_hz, latents, sheet, synthesizer.labels.in_words(labels), options.sample_rate)
    print(one_line(f"{len(audio)} sounds, their latents{', labels' if labels else ''} and a contact sheet are in {out}."))
    return 0


def _perform(options, synthesizer, asked, out):
    """Perform a MIDI file, and write the sound and a picture of it to a new folder."""
    from kgan.audio.files import write_wav
    from kgan.audio.pictures import piece
    from kgan.files import whole_folder
    from kgan.midi import perform

    for kind, values in asked.items():
        if len(values) > 1:
            raise InputError(f"A MIDI file is performed with one value of each label. Received: {len(values)} of {kind}.")
    labels = {kind: value for kind, (value,) in asked.items()}
    audio = perform(options.midi, synthesizer, labels, options.seed, progress=True)
    name = Path(options.midi).stem
    with whole_folder(out) as scratch:
        write_wav(scratch / f"{name}.wav", audio, synthesizer.sample_rate_hz, options.sample_rate)
        (scratch / f"{name}.png").write_bytes(piece(audio, synthesizer.sample_rate_hz))
    print(one_line(f"{len(audio) / synthesizer.sample_rate_hz:.1f} s of {name} are in {out}, with a picture."))
    return 0


def listen(options):
    """Compare generated with real sounds of the same labels: pictures, WAVs, nearest neighbours, attacks, scores by pitch."""
    out = _new_folder(options, "listening")
    import_tensorflow_quietly()
    from kgan.config import load_config
    from kgan.data.load import load_splits
    from kgan.evaluation.listening import listen
    from kgan.training.build import build_clipping, build_filter
    from kgan.training.run_folder import load

    synthesizer = load(options.source, options.best)
    config = load_config(_data_of([Path(options.source).expanduser()]))
    data = config.data
    train, _, test = load_splits(data.source, data.labels_csv, build_clipping(config), build_filter(config))
    print(listen(synthesizer, train, test, out, options.count, options.seed))
    print(one_line(f"Pictures and sounds are in {out}."))
    return 0


def demo(options):
    """Play a generator in the browser, with a keyboard, morphing, real notes to compare and a sequencer."""
    if find_spec("uvicorn") is None or find_spec("starlette") is None:
        raise InputError('The page needs the extra `demo`: pip install -e ".[demo]".')
    import_tensorflow_quietly()
    from kgan.config import load_config
    from kgan.demo import Instrument, serve
    from kgan.labels import renumbered
    from kgan.training.build import load_sounds
    from kgan.training.run_folder import load

    instrument = Instrument(load(options.source, options.best))

    def read_real():
        try:
            config = load_config(_data_of([Path(options.source).expanduser()]))
            if config.data.source.split("/")[0] == "nsynth":
                raise InputError("NSynth is not downloaded for that.")
            instrument.real = renumbered(load_sounds(config), instrument.synthesizer.labels.names)
        except Exception as error:  # the page works without real sounds
            instrument.real = f"There are no real sounds to compare with. {error}"

    def ready(address):
        print(f"Play it at {address} - Ctrl-C ends it.", flush=True)
        threading.Thread(target=read_real, daemon=True).start()
        if not options.no_browser:
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()  # a browser in the terminal blocks

    serve(instrument, Path(options.source).resolve().name, options.host, options.port, ready)
    return 0


def _shards_folder(options):
    """Return the folder of `--out shards:FOLDER`, or None if sounds are written as files."""
    given, folder = (options.out or "").startswith(SHARDS), (options.out or "").removeprefix(SHARDS)
    if given and (not folder or options.latents or options.interpolate or options.midi):
        rule = f"--out {SHARDS}FOLDER works with --count and --seed alone."
        raise InputError(f"{rule} Received: {'--latents, --interpolate or --midi' if folder else 'no folder'}.")
    if not given and (options.count or 0) > LARGEST_COUNT:
        raise InputError(f"More than {LARGEST_COUNT:,} sounds go to --out {SHARDS}FOLDER. Received: --count {options.count:,}.")
    return folder if given else None


def _new_folder(options, parent):
    """Return the requested folder, or the first new one named after the source: `NAME`, `NAME-2`, `NAME-3`, ..."""
    if options.out:
        out = Path(options.out).expanduser()
        if out.exists():
            rule = "Sounds must be written to a new folder."
            raise InputError(f"{rule} Received: {out}, which exists. Give another --out.")
        return out
    name = Path(options.source).resolve().name
    folders = (Path(parent) / (f"{name}-{number}" if number > 1 else name) for number in itertools.count(1))
    return next(folder for folder in folders if not folder.exists())


def _asked_labels(options):
    """Return the labels requested from `generate` as pairs of kind and text."""
    by_name = {"pitch": options.pitch, "family": options.family, "instrument": options.instrument}
    pairs = [(kind, text) for kind, text in by_name.items() if text is not None]
    for text in options.label:
        kind, equals, values = text.partition("=")
        if not equals:
            raise InputError(f"A label must be KIND=VALUE, such as class=kick. Received: {text}.")
        pairs.append((kind, values))
    for kind, count in Counter(kind for kind, _ in pairs).items():
        if count > 1:
            raise InputError(f"Give each label once, with commas between its values. Received: {kind}, {count} times.")
    return [(kind, printable(text)) for kind, text in pairs]


def export(options):
    """Export a run as a SavedModel for TensorFlow Serving, and in other formats."""
    import_tensorflow_quietly()
    from kgan.training.run_folder import export_run

    names = dict.fromkeys(name.strip() for name in options.format.split(","))
    formats = [name for name in names if name not in ("", "savedmodel")]
    version, conversions = export_run(options.run, options.folder, options.best, formats, options.half)
    print(one_line(f"Exported {version}."))
    for conversion in conversions:
        if conversion.refusal:
            print(f"  {conversion.file} was not kept: {conversion.refusal}.")
        else:
            size = f"{conversion.size_bytes / 2**20:.1f} MiB"
            print(f"  {conversion.file}, {size}; its samples are the run's to within {conversion.difference:.1g}")
    return EXIT_FAILURE if any(conversion.refusal for conversion in conversions) else 0


def prepare(options):
    """Convert sounds to shards, which --data accepts. It runs in parallel and can be resumed."""
    told = told_values(_overrides(options) | {"data.source": options.source}, options.config)
    import_tensorflow_quietly()
    from kgan.config import load_config
    from kgan.data.load import problems
    from kgan.data.prepare import prepare as prepare_shards
    from kgan.data.sources import find_source
    from kgan.training.build import build_clipping, build_filter

    if options.runner_options and not options.runner:
        raise InputError(f"--runner-options are for --runner. Received: {options.runner_options} without.")
    if options.runner and options.processes != -1:
        raise InputError(
            f"--processes applies to this machine only. Received: {options.processes} with --runner {options.runner}."
        )
    config = load_config(told)
    check_effective(_asked(options), config)
    source = find_source(config.data.source, config.data.split, config.data.labels_csv)
    clipping, filters = build_clipping(config), build_filter(config)
    runner_options = shlex.split(options.runner_options)
    manifest = prepare_shards(source, options.out, clipping, filters, options.processes, options.runner, runner_options)
    for line in problems(manifest["skipped"], manifest["remarks"], options.out):
        print(line)
    print(one_line(f"{manifest['clips']:,} clips of {manifest['used']:,} sounds are in {options.out}."))
    return 0


def evaluate(options):
    """Score runs, SavedModels and folders of sounds against real sounds, in one table."""
    sources = dict(_named_source(text) for text in options.sources)
    if len(sources) < len(options.sources):
        raise InputError(f"Each source needs a name of its own. Received: {' '.join(options.sources)}.")
    import_tensorflow_quietly()
    from kgan.evaluation.table import check_new

    if options.out:
        check_new(options.out)
    if options.best and all(_kind_of(path) != "run" for path in sources.values()):
        raise InputError(f"--best is for runs. Received: {' '.join(options.sources)}.")
    told = told_values(_overrides(options), options.config)
    if "data.source" not in told:
        told = _data_of(sources.values()) | told
    return _show_table(_evaluate(sources, told, options), options.out)


def reproduce(options):
    """Train the experiments of the published table for the same time each, and score them."""
    import_tensorflow_quietly()
    import keras

    from kgan.evaluation.classifier import ARCHITECTURES
    from kgan.evaluation.evaluator import METRICS
    from kgan.evaluation.musicnn import musicnn_folder
    from kgan.evaluation.table import check_new
    from kgan.training.build import build_gan, build_representation
    from kgan.training.run_folder import RunFolder
    from kgan.training.start import resolve, start_run

    folder = Path(options.out).expanduser()
    table = folder / "table.md"
    told = told_values(_overrides(options), options.config)
    check_new(table)  # fail now instead of after hours
    check_choice("classifier", options.classifier, ARCHITECTURES)
    for name in _metrics(options) or ():
        check_choice("metric", name, METRICS)
        if name == "musicnn":
            musicnn_folder()
    experiments = {
        name: (RunFolder(folder / f"{model}_{representation}"), told | {"model": model, "repr": representation})
        for name, (model, representation) in EXPERIMENTS.items()
    }
    for run, values in experiments.values():
        config, *_ = resolve(values, run, {option for option in told if option.startswith("data.")})
        build_gan(config, build_representation(config))
    sources, failures = {}, {}
    for name, (run, values) in experiments.items():
        keras.backend.clear_session()
        print(f"{name}:", flush=True)
        outcome = start_run(values, run)
        if outcome.signal_number:
            print("Run the same command again to resume.")
            return EXIT_SIGNAL + outcome.signal_number
        if outcome.failure:
            failures[name] = outcome.failure
        sources[name] = run.path
    result = _evaluate(sources, told, options)
    for row in result["rows"]:
        if row["experiment"] in failures:
            row["warnings"].append(f"{failures[row['experiment']]} The last good checkpoint is scored.")
    return _show_table(result, table)


def _overrides(options):
    return {name: value for name, value in vars(options).items() if name in fields()}


def _metrics(options):
    return options.metrics.split(",") if options.metrics else None


def _named_source(text):
    """Return the name and the path of `NAME=PATH`. If the text itself is a path, it is both."""
    name, equals, path = text.partition("=")
    if not equals or os.path.exists(Path(text).expanduser()):  # `Path.exists` fails for a long name
        name, path = text, text
    return printable(name), Path(path).expanduser()


def _data_of(paths):
    """Return the `data` values that runs and SavedModels were trained with; empty if there are only folders.

    Raises:
        InputError: They were trained on different data.
    """
    from kgan.serving.saved_model import CONFIG_FILE, saved_model_version
    from kgan.training.run_folder import RunFolder

    found = {}
    for path in paths:
        kind = _kind_of(path)
        if kind not in ("run", "SavedModel"):
            continue
        config = (
            RunFolder(path).read_config().model_dump() if kind == "run" else read_yaml(saved_model_version(path) / CONFIG_FILE)
        )
        flat = flatten(config)
        found[path] = {name: flat[name] for name in flat if name.startswith("data.") and name in fields()}
    if any(values != next(iter(found.values())) for values in found.values()):
        raise InputError(f"Sources trained on different data need --data. Received: {', '.join(map(str, found))}.")
    return next(iter(found.values()), {})


def _evaluate(sources, told, options):
    """Return the result of `kgan.evaluation.evaluate` for `{name: path}`."""
    from kgan.config import load_config
    from kgan.data.load import load_splits
    from kgan.evaluation.evaluate import evaluate, folder_sounds
    from kgan.evaluation.table import read_table
    from kgan.training.build import build_clipping, build_filter
    from kgan.training.start import check_all_effective

    config = load_config(told)
    check_all_effective({name for name in _asked(options) if name.startswith("data.")}, config)
    clipping = build_clipping(config)
    experiments, earlier = {}, []
    for name, path in sources.items():
        kind = _kind_of(path)
        if kind == "table":
            earlier.append(read_table(path))
        elif kind == "folder":
            experiments[name] = lambda count, seed, path=path: (folder_sounds(path, clipping, count, seed), {})
        else:
            experiments[name] = partial(_generated, path, options.best and kind == "run", clipping)
    parts = load_splits(config.data.source, config.data.labels_csv, clipping, build_filter(config))
    data = printable(config.data.source)
    what = {"data": data, "earlier": earlier, "architecture": options.classifier, "label": options.label}
    return evaluate(experiments, *parts, **what, metrics=_metrics(options), count=options.count, seed=config.seed)


def _generated(path, best, clipping, count, seed):
    """Return `Sounds` generated by a run or a SavedModel, and its number of iterations."""
    from kgan.evaluation.evaluate import generated
    from kgan.training.run_folder import load

    synthesizer = load(path, best)
    made = (*synthesizer.generate(synthesizer.latents(1)).shape[1:], 1)[:2]
    if (*made, synthesizer.sample_rate_hz) != (clipping.length_samples, clipping.channels, clipping.sample_rate_hz):
        raise InputError(
            f"Sounds must be like the real ones, {clipping.length_samples} samples at {clipping.sample_rate_hz} Hz in"
            f" {clipping.channels} channels. Received: {made[0]} at {synthesizer.sample_rate_hz} Hz in {made[1]}. Set"
            f" --data.length_samples {made[0]} --data.sample_rate_hz {synthesizer.sample_rate_hz} --data.channels {made[1]}."
        )
    return generated(synthesizer, count, seed), {"iterations": synthesizer.step}


def _kind_of(path):
    """Return the kind of a source of `evaluate`: a table, a run, a SavedModel or a folder of sounds.

    Raises:
        InputError: It is none of these.
    """
    from kgan.serving.saved_model import saved_model_version
    from kgan.training.run_folder import RunFolder

    if path.suffix == ".json":
        return "table"
    if RunFolder(path).exists():
        return "run"
    try:
        saved_model_version(path)
    except InputError:
        if path.is_dir():
            return "folder"
        raise InputError(
            f"A source must be a run, a SavedModel, a folder of sounds or a table's .json. Received: {path}."
        ) from None
    return "SavedModel"


def _show_table(result, out):
    """Print a table, write it, and return the exit code, a failure if an experiment could not be scored."""
    from kgan.evaluation.table import to_markdown, write_table

    print("\n" + to_markdown(result))
    if out:
        write_table(result, out)
        print(one_line(f"The table is in {Path(out).with_suffix('')}.md, .csv, .json and .png."))
    return EXIT_FAILURE if result["failed"] else 0


def benchmark_pipeline(options):
    """Measure how many clips per second reach a training step, compared with other input pipelines."""
    import_tensorflow_quietly()
    from kgan.benchmarks.pipeline import benchmark_pipeline

    benchmark_pipeline(options.clips, options.seconds, options.rounds, options.json)
    return 0


def benchmark_train(options):
    """Measure the seconds per iteration of WGAN-GP over waveforms, optionally with PyTorch, and the share of the CPU's peak."""
    import_tensorflow_quietly()
    from kgan.benchmarks.train import benchmark_train

    sizes = options.batch_size, options.precision
    benchmark_train(options.dim, *sizes, options.against, options.rounds, options.iterations, options.json)
    return 0


def benchmark_scaling(options):
    """Measure and plot how the time of an iteration grows with batch size, width and length."""
    if options.out and Path(options.out).exists():
        raise InputError(f"--out must be a new file. Received: {options.out}, which exists.")
    import_tensorflow_quietly()
    from kgan.benchmarks.scaling import benchmark_scaling

    benchmark_scaling(options.precision, options.rounds, options.out, options.json)
    return 0


def benchmark_replicas(options):
    """Measure the cost of distributing an iteration over two replicas, in one process and in two."""
    if options.batch_size % 2:
        raise InputError(f"Two replicas share a batch: --batch-size must be even. Received: {options.batch_size}.")
    from kgan.benchmarks.replicas import benchmark_replicas

    benchmark_replicas(options.dim, options.batch_size, options.rounds, options.iterations, options.json)
    return 0


def benchmark_learning(options):
    """Plot the scores of runs against minutes of training."""
    if Path(options.out).exists():
        raise InputError(f"--out must be a new file. Received: {options.out}, which exists.")
    import_tensorflow_quietly()
    from kgan.benchmarks.learning import benchmark_learning

    benchmark_learning(options.runs, options.out, options.over)
    return 0


def benchmark_generate(options):
    """Measure how fast a generator makes sounds, one at a time and 64 at once, optionally compared with PyTorch."""
    import_tensorflow_quietly()
    from kgan.benchmarks.generate import benchmark_generate

    benchmark_generate(options.dim, options.against, options.rounds, options.seconds, options.json)
    return 0


def benchmark_serve(options):
    """Measure how fast a server answers many simultaneous clients."""
    from kgan.benchmarks.serve import benchmark_serve

    asked = options.clients, options.seconds, options.count, options.latent_dim
    return EXIT_FAILURE if benchmark_serve(options.address, options.model, *asked, options.json)["errors"] else 0


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


def _default_run(told, preset):
    base = base_values(told)
    name = os.fsencode(Path(base["data.source"]).name).decode("utf-8", "backslashreplace")
    data = os.fsdecode(name.replace("\\", "_").encode())  # TensorFlow Serving cannot read paths with a backslash
    return Path("runs") / f"{preset or base['model'] + '_' + base['repr']}_{data}"


def _command(name, *arguments):
    """Return the command line that runs a command the way this one was run: by the same Python, from a script or as `kgan`."""
    started = Path(sys.argv[0])
    if started.parent.name == "scripts":
        python = Path(sys.executable)
        here = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
        program = [here, started.with_name(f"{name}.py")]
    else:
        program = [started if started.name == "kgan" else "kgan", name]
    quoted = subprocess.list2cmdline if sys.platform == "win32" else shlex.join
    return quoted(map(str, [*program, *arguments]))
