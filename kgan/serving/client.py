"""A client for models served by TensorFlow Serving, over REST or gRPC."""

import base64
import contextlib
import io
import json
import operator
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import soundfile
from numpy.typing import ArrayLike
from tqdm import tqdm

from kgan.audio.files import wav_names, write_wav
from kgan.audio.notes import NOT_PLAYED, note_batches
from kgan.audio.signal import checked_rate_hz
from kgan.errors import InputError
from kgan.files import new_folder, whole_folder

UNAVAILABLE = (502, 503)  # HTTP status codes
SOUNDS_PER_REQUEST = 64  # the server allows 256
LARGEST_REPLY_BYTES = 2**28
ONLY_OUTPUT = {"serving_default": "audio", "play": "audio", "wav": "wav_bytes"}  # REST omits the name of a single output
ANY = -1  # instead of a label: the server draws one
BACKOFF_S = 0.5  # pause before a retry, doubled each time; over REST the first retry is immediate
REFUSALS = ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED", "UNAUTHENTICATED")
REFUSALS += ("PERMISSION_DENIED",)


class Client:
    """Requests sounds from a server, with the same methods as a local `kgan.Synthesizer`.

    A request is retried if the server is unavailable, but not if the server refuses it. There is one exception: if sounds are
    requested from a seed and the model needs labels that were not given, the request is repeated once with any labels. There
    may be any number of latents; they are sent 64 at a time. The model card lists the `labels` of a conditional model.

    Args:
        address: `http://host:8501` or `https://...` for REST; `grpc://host:8500` or `grpcs://...` for gRPC, which is faster
            and needs the package tensorflow-serving-api: `pip install "kgan[serve]"`.
        model: the model's name on the server, followed by `/versions/2` for a particular version instead of the latest.
        timeout_s: over gRPC, the seconds that a request may take, including retries; over REST, the longest time without data.
        retries: maximum number of retries while the server is unavailable; gRPC allows 4.

    Raises:
        InputError: the address has another form, the model's name is empty, its version is not a number, `timeout_s` is not
            above 0, `retries` is negative, or the package for gRPC is missing.

    Example:
        >>> client = Client("http://localhost:8501")
        >>> client.generate(count=4, seed=7).shape
        (4, 16384)
        >>> client.write_wavs("drums", count=4, seed=7)[0]
        PosixPath('drums/0000.wav')
        >>> client.generate(count=4, labels={"pitch": 60}).shape  # of a model conditioned on pitch
        (4, 16384)
    """

    def __init__(self, address: str, model: str = "kgan", timeout_s: float = 30.0, retries: int = 3):
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
        self._any = {}  # `ANY` for each kind of label that the server is known to need
        self._clip = None  # sample rate and duration in seconds of the server's sounds, once known

    def generate(
        self,
        latents: ArrayLike | None = None,
        labels: Mapping[str, ArrayLike] | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> np.ndarray:
        """Generate sounds on the server, from latents or from a seed.

        Args:
            latents: float32 `(count, latent_dim)`; None lets the server draw them.
            labels: `{kind: values}` for a conditional model. With latents: one integer for all sounds or one for each, and no
                kind may be missing. Without latents: one integer for all sounds; -1 or a missing kind means any.
            count: number of sounds, 1 to 256, if the server draws the latents; None makes one.
            seed: seed for the server. A sound depends only on the seed and on its index. A server that joins requests into
                batches refuses seeds.
            progress: whether to show a progress bar of the requests for latents.

        Returns:
            Audio, float32 `(count, samples[, channels])` in [-1, 1].

        Raises:
            InputError: latents, labels, count or seed have another form, both count and latents are given, the server refused
                the request (the message says why), or the served model was not exported by kgan.
            ConnectionError: the server could not be reached, failed, or is still unavailable after all retries.
            TimeoutError: the server did not answer in time.
        """
        if latents is None:
            return self._sample(count, seed, labels)["audio"]
        _check_no_count(count)
        return self._in_requests("serving_default", latents, labels, progress)

    def play(
        self,
        latents: ArrayLike | None = None,
        labels: Mapping[str, ArrayLike] | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
        duration_s: float | None = None,
        bend_semitones: ArrayLike | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Generate notes of any pitch and duration on the server, see `kgan.Synthesizer.play`.

        The first call also requests a clip to learn the sample rate. A server that joins requests into batches plays no notes.

        Args:
            latents, labels, count, seed: as in `generate`, except that `pitch` is a number, or `(count,)` numbers, that need
                not be integers or among the training pitches.
            duration_s: duration of a note, including the release; None for that of a clip.
            bend_semitones: pitch offset, `(points,)` or `(count, points)`, spread evenly over the duration; None for a steady
                pitch.
            progress: whether to show a progress bar of the requests, each for eight notes.

        Returns:
            Audio, float32 `(count, samples[, channels])` in [-1, 1].

        Raises:
            InputError: the model plays no notes, a pitch is not from 0 to 127, a duration is not above 0 and at most 60 s, a
                bend is not finite, the number of pitches or bends differs from that of latents; or as in `generate`.
            ConnectionError: as in `generate`.
            TimeoutError: as in `generate`.
        """
        sample_rate_hz, clip_s = self._clip = self._clip or self._clip_of_server()
        asked = dict(labels or {})
        pitch = asked.pop("pitch", None)
        if latents is None:
            drawn = self._sample(count, seed, asked)
            latents, others = drawn["latents"], {kind: drawn[kind] for kind in drawn.keys() - {"audio", "latents"}}
            drawn_pitch = others.pop("pitch")
            pitch = drawn_pitch if pitch is None else pitch
        else:
            _check_no_count(count)
            latents = _latent_values(latents)
            others = _label_values(asked, len(latents))
        duration_s = clip_s if duration_s is None else duration_s
        batches = note_batches(latents, pitch, duration_s, bend_semitones, others, sample_rate_hz)
        bar = tqdm(batches, desc="Playing", unit="request", disable=not progress)
        return np.concatenate([self._predict("play", batch, {"audio"})["audio"] for batch in bar])

    def write_wavs(
        self,
        folder: str | Path,
        latents: ArrayLike | None = None,
        labels: Mapping[str, ArrayLike] | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
        sample_rate_hz: int | None = None,
        progress: bool = False,
    ) -> list[Path]:
        """Write 16-bit WAV files to a new folder and return their paths.

        Args:
            folder: the folder; it must not exist.
            latents, labels, count, seed, progress: as in `generate`.
            sample_rate_hz: sample rate of the files, 1 to 384,000; the client resamples. None for the server's rate.

        Returns:
            A path for each sound; the first is `0000.wav` in the folder.

        Raises:
            InputError: the folder exists, the sample rate is out of range, or as in `generate`.
            ConnectionError: as in `generate`.
            TimeoutError: as in `generate`.
        """
        folder = new_folder(folder)
        file_rate_hz = None if sample_rate_hz is None else checked_rate_hz(sample_rate_hz)
        if latents is None:
            sampled = self._sample(count, seed, labels)
            latents = sampled["latents"]
            labels = {name: values for name, values in sampled.items() if name not in ("audio", "latents")}
        else:
            _check_no_count(count)
        files = self._in_requests("wav", latents, labels, progress)
        paths = [folder / name for name in wav_names(len(files))]
        with whole_folder(folder) as scratch:
            for path, content in zip(paths, files, strict=True):
                if file_rate_hz is None:
                    (scratch / path.name).write_bytes(content)
                else:
                    write_wav(scratch / path.name, *soundfile.read(io.BytesIO(content), dtype="float32"), file_rate_hz)
        return paths

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _sample(self, count, seed, labels):
        """Return a dictionary of `audio`, `latents` and the labels, int32 `(count,)`."""
        count = 1 if count is None else count
        try:
            inputs = {"count": np.array(operator.index(count), np.int32), "seed": np.array(operator.index(seed), np.int64)}
        except (OverflowError, TypeError, ValueError) as error:
            raise InputError(f"`count` and `seed` must be integers of 32 and 64 bits. Received: {count}, {seed}") from error
        labels = _label_values(labels)
        asked = self._any | labels
        try:
            return self._sampled(inputs, asked)
        except InputError:
            kinds = self._kinds()
            if kinds in (None, asked.keys()) or not labels.keys() <= kinds:
                raise
        self._any = dict.fromkeys(kinds, np.array(ANY, np.int32))
        return self._sampled(inputs, self._any | labels)

    def _sampled(self, inputs, labels):
        reply = self._predict("sample", labels | inputs, {"audio", "latents", *labels})
        return reply | {kind: reply[kind].astype(np.int32) for kind in labels}

    def _clip_of_server(self):
        if not self._transport.inputs("play"):
            raise InputError(NOT_PLAYED)
        drawn = self._sample(1, 0, None)
        (content,) = self._predict("wav", {name: drawn[name] for name in drawn.keys() - {"audio"}}, {"wav_bytes"})["wav_bytes"]
        header = soundfile.info(io.BytesIO(content))
        return header.samplerate, header.frames / header.samplerate

    def _kinds(self):
        """Return the labels that `sample` takes; None if the server does not say."""
        try:
            return self._transport.inputs("sample") - {"count", "seed"}
        except (InputError, OSError):
            return None

    def _in_requests(self, signature, latents, labels, progress):
        latents = _latent_values(latents)
        inputs = _label_values(labels, len(latents)) | {"latents": latents}
        output, starts = ONLY_OUTPUT[signature], range(0, len(latents), SOUNDS_PER_REQUEST)
        parts = [{name: values[i : i + SOUNDS_PER_REQUEST] for name, values in inputs.items()} for i in starts]
        bar = tqdm(parts, desc="Generating", unit="request", disable=not progress)
        replies = [self._predict(signature, part, {output}) for part in bar]
        return np.concatenate([reply[output] for reply in replies])

    def _predict(self, signature, inputs, outputs):
        reply = self._transport.predict(signature, inputs)
        if set(reply) != outputs:
            rule = f"A model must be one that kgan exported: `{signature}` returns {', '.join(sorted(outputs))}."
            raise InputError(f"{rule} Received: {', '.join(sorted(reply)) or 'nothing'}")
        return reply


def _check_no_count(count):
    if count is not None:
        raise InputError(f"`count` cannot be combined with latents. Received: count={count}.")


def _latent_values(latents):
    try:
        latents = np.asarray(latents, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"Latents must be numbers. Received: {error}") from error
    if latents.ndim != 2 or not latents.size:
        raise InputError(f"Latents must be (count, latent_dim). Received: shape {latents.shape}")
    return latents


def _label_values(labels, count=None):
    """Return labels as int32: scalars or, with a count, `(count,)`."""
    rule = f"an integer, or {count} of them" if count else "one integer for all sounds; give latents to have one for each"
    found = {}
    for kind, asked in (labels or {}).items():
        values = np.asarray(asked)
        if values.dtype.kind not in "iu" or values.shape not in ((), (count,)) or np.any(values != values.astype(np.int32)):
            raise InputError(f"`{kind}` must be {rule}. Received: {asked}")
        found[kind] = np.broadcast_to(values.astype(np.int32), () if count is None else (count,))
    return found


class _Rest:
    """Requests over REST.

    Reference: TensorFlow Serving, "RESTful API". https://www.tensorflow.org/tfx/serving/api_rest
    """

    def __init__(self, parts, model, timeout_s, retries):
        import requests
        from urllib3.util import Retry

        self._url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/v1/models/{model}"
        self._timeout_s = timeout_s
        self._session = requests.Session()
        unavailable = Retry(
            total=retries,
            read=False,  # fail at once
            backoff_factor=BACKOFF_S,
            status_forcelist=UNAVAILABLE,
            allowed_methods=None,
            respect_retry_after_header=False,  # it could exceed any time limit
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=unavailable))

    def predict(self, signature, inputs):
        body = {"signature_name": signature, "inputs": {name: value.tolist() for name, value in inputs.items()}}
        reply = self._reply("POST", f"{self._url}:predict", json.dumps(body))
        with _expected(self._url):
            outputs = reply.json()["outputs"]
            if signature in ONLY_OUTPUT and not isinstance(outputs, dict):
                outputs = {ONLY_OUTPUT[signature]: outputs}
            return {name: _decoded(value) for name, value in outputs.items()}

    def inputs(self, signature):
        reply = self._reply("GET", f"{self._url}/metadata")
        with _expected(self._url):
            signatures = reply.json()["metadata"]["signature_def"]["signature_def"]
            return set(signatures.get(signature, {}).get("inputs", ()))

    def _reply(self, method, url, data=None):
        import requests

        try:
            reply = self._session.request(method, url, data=data, timeout=self._timeout_s)
        except requests.Timeout as error:
            raise TimeoutError(f"{url} did not answer within {self._timeout_s:g} s.") from error
        except requests.RequestException as error:
            raise ConnectionError(f"{url} cannot be reached: {error}") from error
        if reply.status_code == 504:
            raise TimeoutError(f"{url} did not answer in time: {_reason(reply)}")
        if reply.status_code >= 500:
            failed = "is unavailable" if reply.status_code in UNAVAILABLE else "failed"
            raise ConnectionError(f"{url} {failed}: {_reason(reply)}")
        if not reply.ok:
            raise InputError(f"{url} refused the request: {_reason(reply)}")
        return reply

    def close(self):
        self._session.close()


@contextlib.contextmanager
def _expected(url):
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{url} must be TensorFlow Serving's. Received: a reply that is not.") from error


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
    """Requests over gRPC.

    Reference: TensorFlow Serving, apis/prediction_service.proto.
    """

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
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._address, self._timeout_s = parts.geturl(), timeout_s
        self._model, _, version = model.partition("/versions/")
        self._version = int(version) if version else None

    def predict(self, signature, inputs):
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        reply = self._reply(self._stub.Predict, request)
        return {name: tf.make_ndarray(value) for name, value in reply.outputs.items()}

    def inputs(self, signature):
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        reply = self._reply(self._stub.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        reply.metadata["signature_def"].Unpack(signatures)
        return set(signatures.signature_def[signature].inputs)

    def _reply(self, method, request):
        import grpc

        request.model_spec.name = self._model
        if self._version is not None:
            request.model_spec.version.value = self._version
        try:
            return method(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise self._error(error, grpc.StatusCode) from error

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
