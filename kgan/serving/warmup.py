"""Warm-up requests, which TensorFlow Serving runs when it loads a model, so that the first caller does not wait."""

import tensorflow as tf

from kgan.files import tensorflow_path
from kgan.labels import ANY


def write_warmup_requests(folder, name, synthesizer):
    """Write one request for each signature, but nothing if the package tensorflow-serving-api is not installed.

    Args:
        folder: folder of the SavedModel's version.
        name: name of the model.
        synthesizer: the exported `GANSynthesizer`.

    Reference: TensorFlow Serving, "SavedModel Warmup". https://www.tensorflow.org/tfx/serving/saved_model_warmup
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        return
    latents = {"latents": tf.constant(synthesizer.latents(1))}
    names = synthesizer.labels.inputs
    labels = {names[kind]: tf.constant(values) for kind, values in synthesizer.chosen_labels(1).items()}
    inputs = {
        "serving_default": latents | labels,
        "sample": {"count": tf.constant(1), "seed": tf.constant(0, tf.int64)} | dict.fromkeys(labels, tf.constant(ANY)),
        "wav": latents | labels,
    }
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    file.parent.mkdir()
    with tf.io.TFRecordWriter(tensorflow_path(file)) as writer:
        for signature, values in inputs.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = name, signature
            for key, value in values.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
