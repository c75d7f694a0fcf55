"""Sounds from a model that TensorFlow Serving serves, over REST or gRPC."""

import base64
import json
import operator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from kgan.errors import InputError
from kgan.files import whole_folder

UNAVAILABLE = (502, 503)  # of HTTP's statuses
SOUNDS_PER_REQUEST = 64  # 256 are allowed
LARGEST_REPLY_BYTES = 2**28
ONLY_OUTPUT = {"serving_default": "audio", "wav": "wav_bytes"}  # REST leaves the name of a single one out
BACKOFF_S = 0.5  # the pause between repetitions, twice as long each time; over REST the first is made at once
REFUSALS = ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED", "UNAUTHENTICATED")
REFUSALS += ("PERMISSION_DENIED",)


class Client:
    """Asks a server for sounds.

    A request that finds the server unavailable is repeated; one that it refuses is not. Any number of latents is taken, and
    sent 64 at a time.

    Args:
        address: `http://host:8501` or `https://...` for REST; `grpc://host:8500` or `grpcs://...` for gRPC, which is faster
            and needs the package tensorflow-serving-api: `pip install "kgan[serve]"`.
        model: the model's name there, with `/versions/2` for one version instead of the newest.
        timeout_s: over gRPC the seconds that a request may take, repetitions included; over REST the longest silence.
        retries: how often a request is repeated while the server is unavailable; gRPC allows 4.

    Raises (also by its methods):
        InputError: the address is none of these, the server refused the request, its reason being in the message, or what it
            serves is not a model that kgan exported.
        ConnectionError: the server could not be reached, failed, or is unavailable still after all repetitions.
        TimeoutError: it did not answer in time.

    Example:
        >>> client = Client("http://localhost:8501")
        >>> client.generate(count=4, seed=7).shape
        (4, 16384)
        >>> client.write_wavs("drums", count=4, seed=7)[0]
        PosixPath('drums/00000.wav')
    """

    def __init__(self, address, model="kgan", timeout_s=30.0, retries=3):
        rule = f"An address must be like http://localhost:8501 (REST) or grpc://localhost:8500. Received: {address}"
        try:
            parts = urlsplit(address)
        except ValueError as error:
            raise InputError(rule) from error
        transport = TRANSPORTS.get(parts.scheme)
        if transport is None or not parts.netloc:
            raise InputError(rule)
        name, _, version = model.partition("/versions/")
        if not name or (version and not version.isdecimal()):
            raise InputError(f"A model must be like drums, or drums/versions/2. Received: {model}")
        if timeout_s <= 0 or retries < 0:
            raise InputError(f"`timeout_s` must be above 0 and `retries` at least 0. Received: {timeout_s}, {retries}")
        self._transport = transport(parts, model, timeout_s, retries)

    def generate(self, latents=None, count=None, seed=0):
        """Return audio, float32 `(count, samples[, channels])`.

        Args:
            latents: float32 `(count, latent_dim)`; or else
            count: how many sounds, 1 to 256, to make
            seed: from this seed. A sound depends on it and on its index alone. A server that joins requests to batches
                refuses seeds.
        """
        _check_one(latents, count)
        if latents is None:
            return self._sample(count, seed)["audio"]
        return self._in_requests("serving_default", latents)

    def write_wavs(self, folder, latents=None, count=None, seed=0):
        """Write 16-bit WAV files to a new folder and return their paths. Arguments: the folder, and as of `generate`."""
        folder = Path(folder).expanduser()
        if folder.exists():
            raise InputError(f"Sounds go to a new folder, to overwrite none. Received: {folder}, which exists.")
        _check_one(latents, count)
        if latents is None:
            latents = self._sample(count, seed)["latents"]
        files = self._in_requests("wav", latents)
        paths = [folder / f"{i:05d}.wav" for i in range(len(files))]
        with whole_folder(folder) as scratch:
            for path, content in zip(paths, files, strict=True):
                (scratch / path.name).write_bytes(content)
        return paths

    def close(self):
        """Close the connection."""
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _sample(self, count, seed):
        try:
            inputs = {"count": np.array(operator.index(count), np.int32), "seed": np.array(operator.index(seed), np.int64)}
        except (OverflowError, TypeError, ValueError) as error:
            raise InputError(f"`count` and `seed` must be integers of 32 and 64 bits. Received: {count}, {seed}") from error
        return self._predict("sample", inputs, {"audio", "latents"})

    def _in_requests(self, signature, latents):
        try:
            latents = np.asarray(latents, np.float32)
        except (TypeError, ValueError) as error:
            raise InputError(f"Latents must be numbers. Received: {error}") from error
        if latents.ndim != 2 or not latents.size:
            raise InputError(f"Latents must be (count, latent_dim). Received: shape {latents.shape}")
        parts = np.split(latents, range(SOUNDS_PER_REQUEST, len(latents), SOUNDS_PER_REQUEST))
        output = ONLY_OUTPUT[signature]
        replies = [self._predict(signature, {"latents": part}, {output}) for part in parts]
        return np.concatenate([reply[output] for reply in replies])

    def _predict(self, signature, inputs, outputs):
        reply = self._transport.predict(signature, inputs)
        if set(reply) != outputs:
            rule = f"A model must be one that kgan exported: `{signature}` returns {', '.join(sorted(outputs))}."
            raise InputError(f"{rule} Received: {', '.join(sorted(reply)) or 'nothing'}")
        return reply


def _check_one(latents, count):
    if (latents is None) == (count is None):
        raise InputError("Either `latents` or `count` must be given. Received: both, or neither.")


class _Rest:
    """Reference: TensorFlow Serving, "RESTful API". https://www.tensorflow.org/tfx/serving/api_rest"""

    def __init__(self, parts, model, timeout_s, retries):
        import requests
        from urllib3.util import Retry

        self._url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/v1/models/{model}:predict"
        self._timeout_s = timeout_s
        self._session = requests.Session()
        unavailable = Retry(
            total=retries,
            read=False,  # an error at once
            backoff_factor=BACKOFF_S,
            status_forcelist=UNAVAILABLE,
            allowed_methods=None,
            respect_retry_after_header=False,  # it would be obeyed past any limit of time
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=unavailable))

    def predict(self, signature, inputs):
        import requests

        body = {"signature_name": signature, "inputs": {name: value.tolist() for name, value in inputs.items()}}
        try:
            reply = self._session.post(self._url, data=json.dumps(body), timeout=self._timeout_s)
        except requests.Timeout as error:
            raise TimeoutError(f"{self._url} did not answer within {self._timeout_s:g} s.") from error
        except requests.RequestException as error:
            raise ConnectionError(f"{self._url} cannot be reached: {error}") from error
        if reply.status_code == 504:
            raise TimeoutError(f"{self._url} did not answer in time: {_reason(reply)}")
        if reply.status_code >= 500:
            failed = "is unavailable" if reply.status_code in UNAVAILABLE else "failed"
            raise ConnectionError(f"{self._url} {failed}: {_reason(reply)}")
        if not reply.ok:
            raise InputError(f"{self._url} refused the request: {_reason(reply)}")
        try:
            outputs = reply.json()["outputs"]
            if signature in ONLY_OUTPUT and not isinstance(outputs, dict):
                outputs = {ONLY_OUTPUT[signature]: outputs}
            return {name: _decoded(value) for name, value in outputs.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self._url} must be TensorFlow Serving's. Received: a reply that is not.") from error

    def close(self):
        self._session.close()


def _reason(reply):
    try:
        return reply.json()["error"]
    except (ValueError, KeyError, TypeError):
        return f"{reply.status_code} {reply.reason}"


def _decoded(values):
    if values and isinstance(values[0], dict):
        return np.array([base64.b64decode(value["b64"]) for value in values], object)
    return np.asarray(values, np.float32)


class _Grpc:
    """Reference: TensorFlow Serving, apis/prediction_service.proto."""

    def __init__(self, parts, model, timeout_s, retries):
        try:
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError as error:
            raise InputError('gRPC needs tensorflow-serving-api: pip install "kgan[serve]".') from error
        import grpc

        retry = {
            "maxAttempts": retries + 1,
            "initialBackoff": f"{BACKOFF_S}s",
            "maxBackoff": "5s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        config = {"methodConfig": [{"name": [{}]} | ({"retryPolicy": retry} if retries else {})]}
        options = [("grpc.service_config", json.dumps(config)), ("grpc.max_receive_message_length", LARGEST_REPLY_BYTES)]
        if parts.scheme == "grpcs":
            self._channel = grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials(), options)
        else:
            self._channel = grpc.insecure_channel(parts.netloc, options)
        self._predict = prediction_service_pb2_grpc.PredictionServiceStub(self._channel).Predict
        self._address, self._timeout_s = parts.geturl(), timeout_s
        self._model, _, version = model.partition("/versions/")
        self._version = int(version) if version else None

    def predict(self, signature, inputs):
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = self._model, signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        try:
            reply = self._predict(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise self._error(error, grpc.StatusCode) from error
        return {name: tf.make_ndarray(value) for name, value in reply.outputs.items()}

    def _error(self, error, codes):
        if error.code() == codes.DEADLINE_EXCEEDED:
            return TimeoutError(f"{self._address} did not answer within {self._timeout_s:g} s.")
        if error.code() == codes.UNAVAILABLE:
            return ConnectionError(f"{self._address} is unavailable: {error.details()}")
        if error.code().name in REFUSALS:
            return InputError(f"{self._address} refused the request: {error.details()}")
        return ConnectionError(f"{self._address} failed, {error.code().name}: {error.details()}")

    def close(self):
        self._channel.close()


TRANSPORTS = {"http": _Rest, "https": _Rest, "grpc": _Grpc, "grpcs": _Grpc}
