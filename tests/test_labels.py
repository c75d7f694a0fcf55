import json
import time

import numpy as np
import psutil
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from kgan.data.sounds import Sounds
from kgan.errors import InputError
from kgan.labels import ANY, Labels, renumbered

# Flutes at 60 and 62, once and thrice; a bass at 60, twice.
NOTES = Labels({"pitch": [60, 62, 60], "family": [2, 2, 0]}, [1, 3, 2], {"family": ["bass", "brass", "flute"]})
PAIRS = {(60, 2), (62, 2), (60, 0)}


def sounds_with(labels, names=None):
    count = len(next(iter(labels.values()), ()))
    labels = {kind: np.array(values, np.int32) for kind, values in labels.items()}
    return Sounds(np.zeros((count, 16), np.int16), 16000, [str(i) for i in range(count)], labels, names or {})


def drawn(labels, asked, count, seed=0):
    return {kind: values.numpy() for kind, values in labels.completed(asked, count, seed).items()}


def pairs_of(labels):
    return list(zip(labels["pitch"].tolist(), labels["family"].tolist(), strict=True))


def test_values_are_those_of_the_data_in_order():
    assert NOTES.kinds == ("pitch", "family")
    assert {kind: values.tolist() for kind, values in NOTES.values.items()} == {"pitch": [60, 62], "family": [0, 2]}
    assert NOTES.width == 4
    assert (Labels().kinds, Labels().width) == ((), 0)


def test_one_hot_by_hand_and_zeros_for_what_the_data_lacks():
    one_hot = NOTES.one_hot({"pitch": [62, 60, 61], "family": [0, 2, -1]})
    assert one_hot.dtype == tf.float32
    np.testing.assert_array_equal(one_hot, [[0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]])


def test_cross_entropy_is_the_mean_over_the_batch_summed_over_kinds(rng):
    logits = rng.normal(size=(3, 4)).astype(np.float32)
    pitch, family = scipy.special.log_softmax(logits[:, :2], axis=1), scipy.special.log_softmax(logits[:, 2:], axis=1)
    expected = -(pitch[0, 1] + pitch[1, 0] + pitch[2, 0]) / 3 - (family[0, 0] + family[1, 1] + family[2, 0]) / 3
    one_hot = NOTES.one_hot({"pitch": [62, 60, 60], "family": [0, 2, 0]})
    np.testing.assert_allclose(NOTES.cross_entropy(tf.constant(logits), one_hot), expected, rtol=1e-5)


def test_nothing_known_costs_the_logarithm_of_the_number_of_values():
    one_hot = NOTES.one_hot({"pitch": [62], "family": [0]})
    np.testing.assert_allclose(NOTES.cross_entropy(tf.zeros((1, 4)), one_hot), 2 * np.log(2), rtol=1e-6)


def test_what_is_asked_for_is_kept_and_the_rest_combines_with_it_as_in_the_data():
    np.testing.assert_array_equal(drawn(NOTES, {"pitch": 62}, 40)["family"], 2)
    np.testing.assert_array_equal(drawn(NOTES, {"family": 0}, 40)["pitch"], 60)
    np.testing.assert_array_equal(drawn(NOTES, {"pitch": 62, "family": ANY}, 40)["family"], 2)
    mixed = drawn(NOTES, {"pitch": [62, ANY, 60, ANY], "family": [ANY, 0, 0, 2]}, 4)
    np.testing.assert_array_equal(mixed["pitch"][:3], [62, 60, 60])
    assert mixed["pitch"][3] in (60, 62)
    np.testing.assert_array_equal(mixed["family"], [2, 0, 0, 2])
    assert mixed["family"].dtype == np.int32


def test_what_the_data_does_not_combine_is_kept_as_asked():
    against = drawn(NOTES, {"pitch": 62, "family": 0}, 5)
    np.testing.assert_array_equal(against["pitch"], 62)
    np.testing.assert_array_equal(against["family"], 0)


def test_against_the_data_the_rest_is_drawn_from_what_has_most_of_it():
    """Class 0 is a bass at 60, 1 a bass at 62 and 2 a flute at 64; no flute is at 60."""
    labels = Labels({"pitch": [60, 62, 64, 70], "family": [0, 0, 2, 3], "class": [0, 1, 2, 3]}, [1, 1, 1, 10**6])
    classes = drawn(labels, {"pitch": 60, "family": 2}, 200)["class"]
    assert set(classes.tolist()) == {0, 2}
    mixed = drawn(labels, {"pitch": [60, 62], "family": [2, 0]}, 2)["class"]
    assert mixed[0] in (0, 2)
    assert mixed[1] == 1


def test_a_rare_combination_is_not_outweighed_by_those_that_do_not_fit():
    labels = Labels({"pitch": [60, 61], "family": [0, 1]}, [1, 10**6])
    assert not drawn(labels, {"pitch": 60}, 20000)["family"].any()


def test_draws_are_as_frequent_as_in_the_data():
    pairs = pairs_of(drawn(NOTES, {}, 6000))
    assert set(pairs) == PAIRS
    counts = [pairs.count(pair) for pair in ((60, 2), (62, 2), (60, 0))]
    assert scipy.stats.chisquare(counts, [1000, 3000, 2000]).pvalue > 0.01
    at_60 = drawn(NOTES, {"pitch": 60}, 6000)["family"]
    assert scipy.stats.chisquare([(at_60 == 2).sum(), (at_60 == 0).sum()], [2000, 4000]).pvalue > 0.01


def test_without_counts_all_combinations_are_as_frequent():
    values = drawn(Labels({"pitch": range(36, 40)}), {}, 4000)["pitch"]
    assert scipy.stats.chisquare(np.bincount(values, minlength=40)[36:]).pvalue > 0.01


def test_a_draw_depends_on_the_seed_and_the_number_alone():
    labels = Labels({"pitch": range(1000)})
    eight = drawn(labels, {}, 8, seed=5)["pitch"]
    np.testing.assert_array_equal(drawn(labels, {}, 3, seed=5)["pitch"], eight[:3])
    assert len(set(eight)) == 8
    assert (drawn(labels, {}, 8, seed=6)["pitch"] != eight).all()
    some_asked = drawn(labels, {"pitch": [ANY, 7, ANY]}, 3, seed=5)["pitch"]
    np.testing.assert_array_equal(some_asked, [eight[0], 7, eight[2]])


def test_a_graph_draws_the_same():
    @tf.function(input_signature=[tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int64)])
    def in_graph(pitch, count, seed):
        return NOTES.completed({"pitch": pitch}, count, seed)

    for pitch in (ANY, 60):
        expected = drawn(NOTES, {"pitch": pitch}, 9, seed=2**40)
        made = in_graph(tf.constant(pitch), tf.constant(9), tf.constant(2**40, tf.int64))
        assert set(made) == {"pitch", "family"}
        for kind, values in expected.items():
            np.testing.assert_array_equal(made[kind], values)


def test_without_any_kind_nothing_is_drawn():
    assert Labels().completed({}, 3, 0) == {}


@pytest.mark.parametrize(
    ("kind", "text", "values"),
    [
        ("pitch", "48-72", list(range(48, 73))),
        ("pitch", "60", [60]),
        ("pitch", "60,64", [60, 64]),
        ("pitch", " 60 , 70-72,48", [60, 70, 71, 72, 48]),
        ("pitch", "60-60", [60]),
        ("family", "organ,flute", [1, 0]),
        ("family", "hi-hat", [2]),
        ("family", "tight, dry", [3]),
        ("pitch", "C4", [60]),
        ("pitch", "C4,Eb4, 67", [60, 63, 67]),
        ("pitch", "C4-D4", [60, 61, 62]),
        ("pitch", "c4-62", [60, 61, 62]),
        ("family", "cafe\u0301", [4]),
    ],
)
def test_texts_by_hand(kind, text, values):
    family = [i % 5 for i in range(25)]
    names = ["flute", "organ", "hi-hat", "tight, dry", "caf\u00e9"]
    labels = Labels({"pitch": range(48, 73), "family": family}, names={"family": names})
    assert labels.parsed(kind, text) == values


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("pitch", "63", r"^`pitch` must be one of 60, 62. Received: 63.$"),
        ("pitch", "60-62", r"^`pitch` must be one of 60, 62. Received: 61.$"),
        ("pitch", "62-60", r"^A range must go up, such as 48-72. Received: 62-60.$"),
        ("pitch", "0-999999999999", r"^`pitch` must be one of 60, 62. Received: 0.$"),
        ("pitch", "-1", r"^`pitch` must be one of 60, 62. Received: -1.$"),
        ("pitch", "60,", r"^`pitch` must be one of 60, 62. Received: 60,.$"),
        ("pitch", "60.5", "Received: 60.5"),
        ("pitch", "", "Received: .$"),
        ("family", "brass", r"^`family` must be one of bass, flute. Received: brass.$"),
        ("family", "1", r"^`family` must be one of bass, flute. Received: 1.$"),  # the number of a name is none
        ("pitch", "H4", r"^`pitch` must be one of 60, 62. Received: H4.$"),
        ("family", "flutes", r"^`family` must be one of bass, flute. Received: flutes. Did you mean `flute`\?$"),
        ("pich", "60", r"Unknown label `pich`. Did you mean `pitch`\?"),
    ],
)
def test_texts_that_mean_nothing(kind, text, message):
    with pytest.raises(InputError, match=message):
        NOTES.parsed(kind, text)


def test_check_takes_known_values_and_any():
    NOTES.check({"pitch": np.array([60, 62, ANY]), "family": 2})
    NOTES.check({})
    with pytest.raises(InputError, match="^`pitch` must be one of 60, 62. Received: 61.$"):
        NOTES.check({"pitch": [60, 61]})
    with pytest.raises(InputError, match="Received: 60.5"):
        NOTES.check({"pitch": 60.5})
    with pytest.raises(InputError, match="Unknown label `number`. Valid: family, pitch"):
        NOTES.check({"number": 1})
    with pytest.raises(InputError, match="^This generator was trained without labels. Received: pitch.$"):
        Labels().check({"pitch": 60})


def test_values_in_words():
    assert NOTES.listed("pitch") == "one of 60, 62"
    assert NOTES.listed("family") == "one of bass, flute"
    assert Labels({"pitch": range(36, 84)}).listed("pitch") == "from 36 to 83"
    assert Labels({"pitch": [60, 60]}).listed("pitch") == "one of 60"
    assert [NOTES.named("family", 2), NOTES.named("pitch", 60)] == ["flute", "60"]


def test_the_configuration_survives_json():
    config = json.loads(json.dumps(NOTES.get_config()))
    assert config == {
        "columns": {"pitch": [60, 62, 60], "family": [2, 2, 0]},
        "counts": [1, 3, 2],
        "names": {"family": ["bass", "brass", "flute"]},
    }
    again = Labels(**config)
    assert again.get_config() == NOTES.get_config()
    assert pairs_of(drawn(again, {}, 20)) == pairs_of(drawn(NOTES, {}, 20))


def test_labels_of_sounds_are_their_combinations():
    names = {"family": ["bass", "brass", "flute"], "number": ["zero"]}
    labels = {"number": range(6), "pitch": [60, 62, 62, 60, 62, 60], "family": [2, 2, 2, 0, 2, 0]}
    sounds = sounds_with(labels, names)
    auto = Labels.of(sounds, "auto")
    assert auto.kinds == ("pitch", "family")
    counts = dict(zip(pairs_of(auto.columns), auto.counts.tolist(), strict=True))
    assert counts == {(60, 2): 1, (62, 2): 3, (60, 0): 2}
    assert auto.names == {"family": ["bass", "brass", "flute"]}
    one = Labels.of(sounds, ["family"])
    assert (one.kinds, one.columns["family"].tolist(), one.counts.tolist()) == (("family",), [0, 2], [2, 4])
    assert Labels.of(sounds, ["family", "number"]).kinds == ("family", "number")
    assert Labels.of(sounds, None).width == 0
    assert Labels.of(sounds_with({"number": range(6)}), "auto").width == 0


def test_labels_that_sounds_do_not_have():
    sounds = sounds_with({"pitch": [60, 61], "velocity": [-1, 100]})
    with pytest.raises(InputError, match="Unknown label `pich`. Did you mean `pitch`"):
        Labels.of(sounds, ["pich"])
    with pytest.raises(InputError, match="of a label that is learned. Received: velocity, which 1 of 2 sounds lack, 0 first"):
        Labels.of(sounds, ["pitch", "velocity"])
    assert Labels.of(sounds, "auto").kinds == ("pitch",)


@pytest.mark.parametrize("name", ["my kind", "mi-kind", "1st", "é", "", "latents", "count", "x"])
def test_names_that_a_signature_cannot_take(name):
    rule = "must be of letters, digits and _, and none of audio, "
    with pytest.raises(InputError, match=f"{rule}.*Received: {name}.$"):
        Labels({name: [0, 1]})


def test_two_labels_cannot_have_one_input():
    assert Labels({"class_": [0, 1]}).inputs == {"class_": "class_"}
    assert Labels({"class": [0, 1], "pitch": [60, 62]}).inputs == {"class": "class_", "pitch": "pitch"}
    for kinds in (("class", "class_"), ("class_", "class")):
        with pytest.raises(InputError, match="none of audio, .*class_. Received: class_.$"):
            Labels({kind: [0, 1] for kind in kinds})


def test_of_many_names_the_first_are_listed_and_the_nearest_suggested():
    names = [f"{family}_acoustic_{i:03d}" for family in ("bass", "guitar") for i in range(503)]
    labels = Labels({"instrument": range(1, 1006)}, names={"instrument": names})
    listed = "one of bass_acoustic_001, bass_acoustic_002, bass_acoustic_003, ... (1,005 in all)"
    assert labels.listed("instrument") == listed
    assert labels.parsed("instrument", "guitar_acoustic_014") == [517]
    with pytest.raises(InputError) as error:
        labels.parsed("instrument", "guitar_acustic_014")
    told = f"`instrument` must be {listed}. Received: guitar_acustic_014. Did you mean `guitar_acoustic_014` or "
    assert str(error.value).startswith(told)
    with pytest.raises(InputError, match="must be one of bass_acoustic_001"):
        labels.parsed("instrument", names[0])  # a name of the set whose sounds were left out
    assert Labels({"pitch": range(0, 60, 2)}).listed("pitch") == "one of 0, 2, 4, ... (30 in all)"


def test_sounds_are_renumbered_by_names_and_a_name_that_is_not_there_is_unknown():
    sounds = sounds_with({"instrument": [0, 1, 2, -1], "pitch": [60, 61, 62, 63]}, {"instrument": ["horn", "oboe", "harp"]})
    moved = renumbered(sounds, {"instrument": ["harp", "viola", "horn"], "family": ["bass"]})
    assert moved.labels["instrument"].tolist() == [2, -1, 0, -1]
    assert moved.labels["pitch"].tolist() == [60, 61, 62, 63]
    assert moved.label_names == {"instrument": ["harp", "viola", "horn"]}
    assert renumbered(sounds, sounds.label_names) is sounds
    assert renumbered(sounds, {"pitch": ["low", "high"]}) is sounds  # its pitches are numbers


def test_a_draw_among_as_many_combinations_as_nsynth_has_takes_little_memory_and_time():
    """300,000 notes, each of an instrument, pitch and velocity of its own: all at once for 5,000 sounds took gigabytes."""
    number = np.arange(300_000)
    labels = Labels({"pitch": number % 60, "instrument": number // 300, "velocity": number // 60 % 5})
    began_s, before_bytes = time.perf_counter(), psutil.Process().memory_info().rss
    drawn_labels = drawn(labels, {"pitch": 7, "instrument": 20}, 1000)
    assert set(drawn_labels["velocity"].tolist()) == set(range(5))
    assert set(drawn_labels["instrument"].tolist()) == {20}
    assert time.perf_counter() - began_s < 60
    assert psutil.Process().memory_info().rss - before_bytes < 500e6
