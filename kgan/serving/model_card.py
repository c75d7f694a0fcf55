"""The model card, which describes an exported generator."""

import json
import shlex

from kgan.text import in_markdown, one_line

LICENCES = {
    "notes": "rendered from the SoundFont TimGM6mb, which is under the GNU General Public License 2",
    "nsynth": "NSynth is under Creative Commons Attribution 4.0",
}
OWN = "see the licence of the data"


def model_card(name, config, step, parameters, size_bytes, sounds=None, scores=None, labels=None):
    """Return a model card as Markdown.

    Args:
        name: name of the model.
        config: the run's configuration, as nested dictionaries.
        step: number of training iterations.
        parameters: number of the generator's weights.
        size_bytes: size of the SavedModel.
        sounds: number of sounds it was trained on; None if unknown.
        scores: `{name: value}` of its last evaluation; None if there was none.
        labels: the `Labels` that it takes; None for none.

    Reference: Mitchell et al. 2019, "Model Cards for Model Reporting". https://arxiv.org/abs/1810.03993
    """
    data = config["data"]
    channels = {1: "mono", 2: "stereo"}[data["channels"]]
    duration_s = data["length_samples"] / data["sample_rate_hz"]
    source = str(data["source"])
    known = next((text for start, text in LICENCES.items() if source.split("/")[0] == start), OWN)
    kinds = labels.kinds if labels else ()
    rows = {
        "Model": f"{config['model']} over {config['repr']}, width {config['network']['dim']}",
        "Sounds it makes": f"{duration_s:.2f} s, {data['sample_rate_hz']} Hz, {channels}",
        "Latents": f"{config['network']['latent_dim']}, {config['gan']['latent_distribution']}",
        **({"Labels": "; ".join(f"{kind} {labels.listed(kind)}" for kind in kinds)} if kinds else {}),
        "Trained on": source + (f", {sounds:,} sounds" if sounds else ""),
        "Iterations": f"{step:,}, batch {config['training']['batch_size']}, seed {config['seed']}",
        "Size": f"{parameters:,} parameters, {size_bytes / 2**20:.1f} MiB",
        "Licence": f"of the code: MIT; of the data: {known}",
    }
    asked = "".join(f", {name}=tf.constant(-1)" for name in (labels.inputs.values() if labels else ()))
    means = "  # -1: any; names are numbered in assets/generator.yaml" if kinds else ""
    table = "\n".join(f"| {kind} | {in_markdown(value)} |" for kind, value in rows.items())
    scored = "not evaluated"
    if scores:
        scored = "\n".join(["| score | |", "|---|---|", *(f"| {kind} | {value:.4g} |" for kind, value in scores.items())])
    folder = f"./{name}" if name.startswith("-") else name
    return f"""# {in_markdown(name)}

A generator of sounds, exported by kgan for TensorFlow Serving. `assets/config.yaml` holds all its settings.

| | |
|---|---|
{table}

## Scores

{scored}

## Use

```bash
kgan generate {_quoted(folder)} --count 16 --seed 7      # WAV files and a picture of them
kgan train --config {_quoted(f"{folder}/1/assets/config.yaml")} --run runs/again      # trains it again
```

```python
import tensorflow as tf

model = tf.saved_model.load({json.dumps(f"{name}/1", ensure_ascii=False)})       # or a higher version
audio = model.signatures["sample"](count=tf.constant(4), seed=tf.constant(7, tf.int64){asked})["audio"]{means}
```
"""


def _quoted(path):
    """Return a path quoted for a shell, on one line."""
    return shlex.quote(one_line(path))
