"""Convert any source to shards, with local processes or Apache Beam workers. It can be resumed and is reproducible."""

import contextlib
import hashlib
import itertools
import json
from dataclasses import asdict
from pathlib import Path

import filelock
import joblib
import numpy as np
from tqdm import tqdm

from kgan.data.recordings import Filter
from kgan.data.shards import FORMAT, MANIFEST, write_shard
from kgan.errors import InputError
from kgan.files import as_path, remove_unfinished, tensorflow_path, whole_file

RECORDINGS_PER_SHARD = 256
PLAN = "plan.json"


def prepare(source, folder, clipping, filters=Filter(), processes=-1, runner=None, runner_options=()):
    """Write a source as shards; shards that already exist from an interrupted call are kept.

    A recording that cannot be used is left out and listed in the manifest.

    Args:
        source: an object with `recordings()`, `label_names`, `left_out`, `description` and `__len__`, such as `FolderSource`.
        folder: a new folder, or the folder of an interrupted call with the same arguments. It may be remote.
        clipping: a `Clipping`.
        filters: a `Filter`.
        processes: number of processes; -1 for one per core.
        runner: name of an Apache Beam runner, such as `DirectRunner`; None uses processes of this machine.
        runner_options: further arguments of the Beam pipeline. Its workers must find the source's files and `folder` at the
            same paths: on a shared file system, or in a store such as `gs://bucket/folder`.

    Returns:
        The manifest, a dictionary.

    Raises:
        InputError: the folder has other contents, its path is not UTF-8, or no recording can be used.
    """
    folder = as_path(folder)
    local = isinstance(folder, Path)
    if local:
        tensorflow_path(folder.resolve())  # fails now if TensorFlow cannot write there
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / ".lock") if local else contextlib.nullcontext():
        if local:
            remove_unfinished(folder)
        _agree_on_plan(folder, source, clipping, filters)
        if not (folder / MANIFEST).exists():
            jobs = _jobs(source, folder, clipping, filters)
            with tqdm(total=len(source) or None, desc="Preparing the sounds", unit="sound", disable=bool(runner)) as bar:
                if 0 < len(source) <= RECORDINGS_PER_SHARD:
                    processes = 1  # starting another process for one shard would take longer
                if runner is None:
                    _run_here(jobs, processes, bar)
                else:
                    _run_on_beam(jobs, runner, runner_options)
            _write_manifest(folder, source, clipping)
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))


def plan_of(source, clipping, filters):
    """Return everything that the shards depend on, in JSON-compatible form."""
    plan = {
        "format": FORMAT,
        "source": source.description | {"label_names": source.label_names, "left_out": source.left_out},
        "clipping": asdict(clipping),
        "filter": asdict(filters),
    }
    return json.loads(json.dumps(plan))


def _agree_on_plan(folder, source, clipping, filters):
    """Store the plan in the folder, or compare it with the plan that an earlier call stored."""
    plan = plan_of(source, clipping, filters)
    file = folder / PLAN
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        changed = [name for name in plan if plan[name] != before.get(name)]
        if changed:
            raise InputError(f"{folder} was prepared from another {' and '.join(changed)}. Give another folder, or delete it.")
    elif folder.exists() and any(path.name != ".lock" for path in folder.iterdir()):
        raise InputError(f"Shards need a new folder. Received: {folder}, which holds other files.")
    else:
        with whole_file(file) as scratch:
            scratch.write_text(json.dumps(plan), encoding="utf-8")


def _jobs(source, folder, clipping, filters):
    """Yield the arguments of `write_shard` for each shard."""
    chosen = (r for r in source.recordings() if filters.accepts(r.labels, source.label_names))
    for number in itertools.count():
        recordings = list(itertools.islice(chosen, RECORDINGS_PER_SHARD))
        if not recordings:
            return
        yield recordings, clipping, folder / f"shard-{number:05d}"


def _missing(job):
    return not all(job[2].with_suffix(suffix).exists() for suffix in (".json", ".npz", ".tfrecord"))


def _run_here(jobs, processes, bar):
    def remaining():
        for job in jobs:
            if _missing(job):
                yield joblib.delayed(write_shard)(*job)
            else:
                bar.update(len(job[0]))

    workers = joblib.Parallel(processes, return_as="generator_unordered", pre_dispatch="2*n_jobs")
    for summary in workers(remaining()):
        bar.update(summary["recordings"])


def _run_on_beam(jobs, runner, runner_options):
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise InputError("A runner needs Apache Beam: pip install 'kgan[beam]'.") from None
    jobs = list(filter(_missing, jobs))
    if any(isinstance(recording.content, bytes | np.ndarray) for recordings, *_ in jobs[:1] for recording in recordings):
        raise InputError("A runner's workers read files themselves. Received: an archive. Extract it, or leave --runner out.")
    tqdm.write(f"Preparing {len(jobs):,} shards of up to {RECORDINGS_PER_SHARD} sounds on {runner}.")
    with beam.Pipeline(runner, options=PipelineOptions(list(runner_options))) as pipeline:
        (pipeline | beam.Create(jobs) | beam.Reshuffle() | beam.Map(lambda job: write_shard(*job)["clips"]))


def _write_manifest(folder, source, clipping):
    shards = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("shard-*.json"))]
    skipped = {name: reason for shard in shards for name, reason in shard.pop("skipped").items()}
    remarks = {name: told for shard in shards for name, told in shard.pop("remarks").items()}
    filled = [shard for shard in shards if shard["clips"]]
    if not filled:
        if not skipped:
            named = ", ".join(f"{name} {reason}" for name, reason in list(source.left_out.items())[:1])
            raise InputError(f"There is no recording that passes the filter.{f' Left out: {named}, first.' if named else ''}")
        name, reason = next(iter(skipped.items()))
        raise InputError(f"None of the {len(skipped)} recordings can be used; the first, {name}, {reason}.")
    index_file = (folder / filled[0]["file"]).with_suffix(".npz")
    with index_file.open("rb") as file, np.load(file, allow_pickle=False) as index:
        kinds = [name.partition(".")[2] for name in index.files if name.startswith("label.")]
    shape = [clipping.length_samples] if clipping.channels == 1 else [clipping.length_samples, clipping.channels]
    manifest = {
        "format": FORMAT,
        "clips": sum(shard["clips"] for shard in shards),
        "recordings": sum(shard["recordings"] for shard in shards),
        "used": sum(shard["recordings"] for shard in shards) - len(skipped),
        "sample_rate_hz": clipping.sample_rate_hz,
        "clip_shape": shape,
        "clipping": asdict(clipping),
        "labels": kinds,
        "label_names": source.label_names,
        "sha256": hashlib.sha256("".join(shard["sha256"] for shard in shards).encode()).hexdigest(),
        "shards": shards,
        "skipped": source.left_out | skipped,
        "remarks": remarks,
    }
    with whole_file(folder / MANIFEST) as scratch:
        scratch.write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")
