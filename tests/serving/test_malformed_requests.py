"""Ten thousand requests that no client of ours would send: each is refused, and the next good one answered.

The stand-in refuses what the server itself would; numbers and counts reach the graph, which refuses them.
"""

import json

import grpc
import numpy as np
import psutil
import pytest
import requests
import tensorflow as tf

from kgan.serving import Client

predict_pb2 = pytest.importorskip("tensorflow_serving.apis.predict_pb2")
prediction_service_pb2_grpc = pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")

BETWEEN = 100  # requests from a good one to the next
REFUSALS = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
GROWTH_MIB = 200


def bad_latents(rng):
    """Return an array that is no latents."""
    good = rng.normal(size=(rng.integers(1, 9), 8)).astype(np.float32)
    spot = rng.integers(len(good)), rng.integers(8)
    makers = {
        "width": lambda: np.zeros((len(good), rng.choice([0, 1, 7, 9, 100])), np.float32),
        "flat": lambda: good.reshape(-1),
        "scalar": lambda: np.float32(1.0),
        "deep": lambda: good[None] if rng.random() < 0.5 else good[None, None],
        "no number": lambda: _with(good, spot, rng.choice([np.nan, np.inf, -np.inf])),
        "empty": lambda: good[:0],
        "too many": lambda: np.zeros((rng.integers(257, 2000), 8), np.float32),
        "text": lambda: np.full((1, 8), b"x", object),
    }
    return makers[rng.choice(list(makers))]()


def _with(array, spot, value):
    array = array.copy()
    array[spot] = value
    return array


def bad_scalars(rng):
    """Return a count and a seed that no one can be given sounds for."""
    count = rng.choice([0, -1, 257, 10**6, -(2**31), 2**31 - 1])
    values = {"count": np.int32(count), "seed": np.int64(rng.integers(-(2**63), 2**63))}
    if rng.random() < 0.3:
        values["count"] = np.full(rng.choice([0, 1, 3]), 2, np.int32)
    elif rng.random() < 0.2:
        values = {"count": np.int32(2), "seed": np.zeros((2, 2), np.int64)}
    return values


def bad_request(rng):
    """Return a model's name, a signature and inputs, at least one of them wrong."""
    name, signature = "drums", rng.choice(["serving_default", "wav"])
    inputs = {"latents": rng.normal(size=(2, 8)).astype(np.float32)}
    wrong = rng.choice(["latents", "scalars", "model", "signature", "missing", "more", "other", "crossed"])
    if wrong == "latents":
        inputs = {"latents": bad_latents(rng)}
    elif wrong == "scalars":
        signature, inputs = "sample", bad_scalars(rng)
    elif wrong == "model":
        name = rng.choice(["", "drum", "drums2", "../drums", "💥"])
    elif wrong == "signature":
        signature = rng.choice(["predict", "SAMPLE", "__saved_model_init_op", "x" * 1000])
    elif wrong == "missing":
        inputs = {}
    elif wrong == "more":
        inputs["seed"] = np.int64(1)
    elif wrong == "other":
        inputs = {rng.choice(["latent", "z", "x" * 1000]): inputs["latents"]}
    else:
        signature = "sample"
    return str(name), str(signature), inputs


def refused_by_grpc(stub, rng):
    """Send a bad request; a third of them are also damaged as messages."""
    request = predict_pb2.PredictRequest()
    name, request.model_spec.signature_name, inputs = bad_request(rng)
    request.model_spec.name = name
    if rng.random() < 0.1:
        request.model_spec.version.value = int(rng.choice([3, 99, -1]))
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    if "latents" in inputs and rng.random() < 0.3:
        proto = request.inputs["latents"]
        proto.CopyFrom(tf.make_tensor_proto(np.zeros((2, 8), np.float32)))
        damage = rng.choice(["short", "type", "huge", "unknown type"])
        if damage == "short":
            proto.tensor_content = proto.tensor_content[: rng.integers(1, 63)]
        elif damage == "type":
            proto.dtype = int(rng.choice([2, 3, 9, 14, 19]))
        elif damage == "huge":
            proto.tensor_shape.dim[0].size = 2**40
        else:
            proto.dtype = 0
    with pytest.raises(grpc.RpcError) as raised:
        stub.Predict(request, timeout=20)
    return raised.value.code() in REFUSALS, raised.value


def refused_by_rest(session, address, rng):
    """Send a bad request; a third of them are no JSON, or not of the right form."""
    name, signature, inputs = bad_request(rng)
    lists = {
        key: np.vectorize(str)(value).tolist() if value.dtype == object else value.tolist() for key, value in inputs.items()
    }
    body = json.dumps({"signature_name": signature, "inputs": lists}).encode()
    if rng.random() < 0.3:
        latents = rng.choice(["ragged", "object", "null", "words", "b64"])
        value = {"ragged": [[0.0] * 8, [0.0]], "object": {"a": 1}, "null": None, "words": [["a"] * 8], "b64": {"b64": "AAAA"}}
        body = json.dumps({"inputs": {"latents": value[latents]}}).encode()
    elif rng.random() < 0.2:
        body = rng.choice(
            [b"", b"{", b"[]", b"null", body[: len(body) // 2], b"\xff\xfe", b'{"inputs": 3}', b'{"instances": []}']
        )
    reply = session.post(f"{address}/v1/models/{name}:predict", data=bytes(body), timeout=20)
    return 400 <= reply.status_code < 500 and bool(reply.json()["error"]), reply.text


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_malformed_requests_are_refused_and_good_ones_served_between_them(served, count):
    stand_in, synthesizer = served
    rng = np.random.default_rng(0)
    latents = synthesizer.latents(2, seed=1)
    expected = synthesizer.generate(latents)
    process = psutil.Process()
    channel = grpc.insecure_channel(stand_in.grpc.removeprefix("grpc://"))
    stub, session = prediction_service_pb2_grpc.PredictionServiceStub(channel), requests.Session()
    clients = [Client(stand_in.rest, model="drums"), Client(stand_in.grpc, model="drums")]
    memory = []
    for i in range(count):
        refused, answer = refused_by_grpc(stub, rng) if i % 2 else refused_by_rest(session, stand_in.rest, rng)
        assert refused, (i, answer)
        if i % BETWEEN == 0:
            for client in clients:
                np.testing.assert_allclose(client.generate(latents), expected, atol=1e-6)
            memory.append(process.memory_info().rss / 2**20)
    channel.close()
    assert max(memory[len(memory) // 2 :]) - memory[len(memory) // 10] < GROWTH_MIB
