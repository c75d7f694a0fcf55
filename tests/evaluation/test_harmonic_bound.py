"""What harmonic plus noise can sound like at best: real test notes, analysed and made again, as `evaluate` hears them."""

import numpy as np
import pytest
import tensorflow as tf

from kgan.data.encoded import encode_all
from kgan.data.notes import SPLITS, load_notes
from kgan.data.sounds import Sounds, to_int16
from kgan.evaluation import attack_ms
from kgan.evaluation.classifier import load_classifier
from kgan.evaluation.distances import frechet_distance
from kgan.evaluation.inception_score import inception_score
from kgan.representations import Harmonic

COMPONENTS = (4096, 2048, 1024, 512)


@pytest.mark.long
def test_the_bound_of_harmonic_plus_noise():
    train, valid, test = (load_notes(split) for split in SPLITS)
    classifier = load_classifier(train, valid, test)
    references = classifier.predict(train).embedding
    shuffled = np.random.default_rng(0).permutation(len(test))
    families, pitch = test.labels["family"], tf.constant(test.labels["pitch"])
    layer = Harmonic(components=max(COMPONENTS))
    encode_all(train, layer, adapt=True)
    levels = layer.analyse(test.waveforms(), test.labels["pitch"])

    def scores(name, audio):
        audio = np.concatenate(audio) if isinstance(audio, list) else audio
        audio = audio / np.maximum(1, np.abs(audio).max(axis=1, keepdims=True))
        made = Sounds(to_int16(audio), 16000, test.ids, test.labels, test.label_names)
        heard = classifier.predict(made)
        right = heard.label.argmax(axis=1) == families
        row = {
            "inception": inception_score(heard.label[shuffled])[0],  # its splits are of sounds in random order
            "frechet": frechet_distance(heard.embedding, references),
            "family": np.mean(right),
            "attack_ms": np.nanmedian(attack_ms(audio, 16000)),
        }
        print(f"\n{name:16}", {key: round(float(value), 3) for key, value in row.items()})
        print("   ", {test.label_names["family"][f]: round(float(right[families == f].mean()), 2) for f in np.unique(families)})
        return row

    def parts():
        return [slice(start, start + 64) for start in range(0, len(test), 64)]

    real = scores("real", test.waveforms())
    made = scores("levels", [layer.synthesise(tf.constant(levels[part]), pitch[part]).numpy() for part in parts()])
    assert real["inception"] > 8
    assert made["inception"] > 0.9 * real["inception"]
    assert made["family"] > 0.97 * real["family"]
    assert abs(made["attack_ms"] - real["attack_ms"]) < 10
    x = layer.project(levels)
    for count in COMPONENTS:
        kept = np.where(np.arange(x.shape[1]) < count, x, 0)
        row = scores(f"{count} components", [layer.decode(tf.constant(kept[part]), pitch[part]).numpy() for part in parts()])
        assert row["family"] > 0.85 * real["family"]
