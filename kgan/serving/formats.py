"""Export of a generator to ONNX and LiteRT. Each file is run and compared with the generator before it is kept."""

import importlib.util
import logging
import tempfile
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kgan.errors import InputError, unknown_name
from kgan.files import whole_file
from kgan.serving.saved_model import save_functions

TESTED_SOUNDS = 4
LARGEST_ERROR = 0.02  # RMS of the difference relative to the sound's RMS: -34 dB
TINY_LEVEL = 1e-6  # level that is assumed for silent sounds
ONNX_OPSET = 18


class Conversion(NamedTuple):
    """A file in another format.

    Attributes:
        file: name of the file.
        size_bytes: size of the file.
        difference: largest absolute difference of a sample from the synthesizer's; NaN if no sounds could be made.
        refusal: why the file was not kept; None if it was.
    """

    file: str
    size_bytes: int
    difference: float
    refusal: str | None


def write_formats(synthesizer, folder, name, formats):
    """Write `NAME.onnx` and `NAME.tflite`, and `NAME_float16` versions with weights stored in half the bytes.

    All models take `latents` float32 `(batch, latent_dim)` and the labels, if any, such as `pitch`, int32 `(batch,)`. They
    return `audio` float32 `(batch, samples[, channels])`, computed in float32. They do not check their input and take no seed,
    because neither assertions nor TensorFlow's random numbers can be converted. A successful conversion may still be wrong, so
    each model generates four sounds; it is kept if they differ from the synthesizer's by at most 2 % of their level (-34 dB).

    Args:
        synthesizer: a `GANSynthesizer`.
        folder: an existing folder for the files.
        name: start of the file names.
        formats: names out of `FORMATS`.

    Returns:
        A list of `Conversion`, two for each format.
    """
    latents, labels = synthesizer.latents(TESTED_SOUNDS), synthesizer.chosen_labels(TESTED_SOUNDS)
    expected = synthesizer.generate(latents, labels)
    inputs = {"latents": latents} | {synthesizer.labels.inputs[kind]: values for kind, values in labels.items()}
    conversions = []
    for format_name in formats:
        suffix, _, convert, run = FORMATS[format_name]
        for precision, half in (("", False), ("_float16", True)):
            file = f"{name}{precision}.{suffix}"
            try:
                model = convert(synthesizer, half)
                conversion = _compared(file, len(model), run(model, inputs), expected)
            except Exception as error:  # each converter raises its own errors
                conversion = Conversion(file, 0, np.nan, " ".join(str(error).split())[:300])
            if not conversion.refusal:
                with whole_file(folder / file) as scratch:
                    scratch.write_bytes(model)
            conversions.append(conversion)
    return conversions


def check_formats(formats):
    """Check formats before any work is done.

    Raises:
        InputError: a name is not one of `FORMATS`, or a package that it needs is not installed.
    """
    for name in formats:
        if name not in FORMATS:
            raise unknown_name("format", name, ("savedmodel", *FORMATS))
        missing = [package for package in FORMATS[name][1] if importlib.util.find_spec(package) is None]
        if missing:
            rule = f'The format {name} needs packages: pip install "kgan[{name}]".'
            raise InputError(f"{rule} Received: an installation without {', '.join(missing)}.")


def _compared(file, size_bytes, audio, expected):
    refusal = None
    axes = tuple(range(1, expected.ndim))
    levels = np.maximum(np.square(expected).mean(axis=axes), TINY_LEVEL**2)
    error = np.sqrt(np.square(audio - expected).mean(axis=axes) / levels).max()
    if not error <= LARGEST_ERROR:  # also true for NaN
        refusal = f"its sounds differ from the run's by {error:.0%} of their level; allowed is {LARGEST_ERROR:.0%}"
        if not np.isfinite(audio).all():
            refusal = "its sounds are not finite"
    return Conversion(file, size_bytes, float(np.abs(audio - expected).max()), refusal)


def _to_onnx(synthesizer, half):
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    audio = tf.function(synthesizer.portable_audio())
    model, _ = tf2onnx.convert.from_function(audio, synthesizer.input_signature, opset=ONNX_OPSET)
    if half:
        _halve(model.graph, synthesizer.generator)
    return model.SerializeToString()


def _halve(graph, generator):
    """Store the generator's weights as float16. The weights of the decoder need full precision."""
    from onnx import TensorProto, helper, numpy_helper

    known = {_fingerprint(weight.numpy()) for weight in generator.weights if weight.shape.num_elements() > 1}
    casts = []
    for constant in graph.initializer:
        values = numpy_helper.to_array(constant)
        if values.dtype == np.float32 and _fingerprint(values) in known:
            name = constant.name
            constant.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_float16"))
            casts.append(helper.make_node("Cast", [constant.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _fingerprint(values):
    """Return a fingerprint of an array that does not change if a converter transposes or reshapes it."""
    return values.size, float(np.sort(values, axis=None).astype(np.float64) @ np.arange(values.size))


def _run_onnx(model, inputs):
    import onnxruntime

    return onnxruntime.InferenceSession(model).run(None, inputs)[0]


def _to_litert(synthesizer, half):
    with tempfile.TemporaryDirectory() as folder:
        save_functions(synthesizer, {"serving_default": synthesizer.portable_audio(unrolled=True)}, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if half:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return converter.convert()


def _run_litert(model, inputs):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    runner = interpreter.get_signature_runner()
    return runner(**inputs)["audio"]


FORMATS = {  # name: suffix, packages, converter, function that runs the model
    "onnx": ("onnx", ("tf2onnx", "onnxruntime"), _to_onnx, _run_onnx),
    "litert": ("tflite", ("ai_edge_litert",), _to_litert, _run_litert),
}
