"""A small TensorFlow Serving: the real SavedModel behind the official REST paths and the official gRPC service.

As a program, `stand_in.py FOLDER NAME`, it prints its two addresses and serves until its standard input ends.
"""

import base64
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

STATUS = {"invalid": (400, grpc.StatusCode.INVALID_ARGUMENT), "missing": (404, grpc.StatusCode.NOT_FOUND)}
STATUS |= {"unavailable": (503, grpc.StatusCode.UNAVAILABLE)}


class Refused(Exception):
    pass


class StandIn:
    """Attributes: `rest` and `grpc`, addresses; `asked`, requests received; `unavailable`, how many of the next to turn away;
    `delay_s`, seconds to wait before each answer."""

    def __init__(self, versions, name):
        self.name, self.asked, self.unavailable, self.delay_s = name, 0, 0, 0.0
        self._released = threading.Event()
        folders = {int(folder.name): folder for folder in Path(versions).iterdir()}
        self._models = {version: tf.saved_model.load(str(folder)) for version, folder in folders.items()}
        self._files = {version: (folder / "saved_model.pb").read_bytes() for version, folder in folders.items()}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._http_handler())
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self._grpc = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self._servicer(), self._grpc)
        self.grpc = f"grpc://127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self.rest = f"http://127.0.0.1:{self._http.server_port}"
        self._grpc.start()

    def stop(self):
        self._released.set()
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(0)

    def predict(self, name, version, signature, values):
        """Return outputs as numpy arrays; `values` are functions of the dtype that the signature wants."""
        self.asked += 1
        self._released.wait(self.delay_s)
        if self.unavailable:
            self.unavailable -= 1
            raise Refused("unavailable", "the model is being loaded")
        signatures = self._models[self._found(name, version)].signatures
        if signature not in signatures:
            raise Refused("invalid", f'Serving signature key "{signature}" not found.')
        specs = signatures[signature].structured_input_signature[1]
        if set(values) != set(specs):
            raise Refused("invalid", f"input size does not match signature: {sorted(values)} instead of {sorted(specs)}")
        try:
            inputs = {key: value(specs[key].dtype) for key, value in values.items()}
            outputs = signatures[signature](**inputs)
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            raise Refused("invalid", str(error)) from error
        return {key: value.numpy() for key, value in outputs.items()}

    def metadata(self, name, version):
        """Return a `SignatureDefMap`."""
        saved = saved_model_pb2.SavedModel.FromString(self._files[self._found(name, version)])
        return get_model_metadata_pb2.SignatureDefMap(signature_def=saved.meta_graphs[0].signature_def)

    def _found(self, name, version):
        if name != self.name or version not in {None, *self._models}:
            raise Refused("missing", f"Servable not found for request: Specific({name}, {version})")
        return version or max(self._models)

    def _http_handler(self):
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or each reply waits 40 ms

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    path, _, verb = self.path.removeprefix("/v1/models/").partition(":")
                    name, _, version = path.partition("/versions/")
                    request = json.loads(body)
                    if verb != "predict" or not isinstance(request, dict) or not isinstance(request.get("inputs"), dict):
                        raise Refused("invalid", "Malformed request: " + self.path)
                    values = {key: lambda dtype, v=value: tf.constant(v, dtype) for key, value in request["inputs"].items()}
                    signature = request.get("signature_name", "serving_default")
                    outputs = stand_in.predict(name, int(version) if version else None, signature, values)
                    outputs = {key: _jsonable(key, value) for key, value in outputs.items()}
                    self._answer(200, {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))})
                except Refused as refused:
                    self._answer(STATUS[refused.args[0]][0], {"error": refused.args[1]})
                except ValueError as error:
                    self._answer(400, {"error": f"JSON Parse error: {error}"})

            def do_GET(self):
                path, _, what = self.path.removeprefix("/v1/models/").rpartition("/")
                name, _, version = path.partition("/versions/")
                try:
                    if what != "metadata":
                        raise Refused("missing", "Malformed request: " + self.path)
                    signatures = stand_in.metadata(name, int(version) if version else None)
                    content = json_format.MessageToDict(signatures, preserving_proto_field_name=True)
                    self._answer(200, {"model_spec": {"name": name}, "metadata": {"signature_def": content}})
                except Refused as refused:
                    self._answer(STATUS[refused.args[0]][0], {"error": refused.args[1]})

            def _answer(self, code, content):
                content = json.dumps(content).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        return Handler

    def _servicer(self):
        stand_in = self

        class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
            def Predict(self, request, context):
                spec = request.model_spec
                version = spec.version.value if spec.HasField("version") else None
                values = {key: lambda dtype, v=value: _tensor(v, dtype) for key, value in request.inputs.items()}
                try:
                    outputs = stand_in.predict(spec.name, version, spec.signature_name or "serving_default", values)
                except Refused as refused:
                    context.abort(STATUS[refused.args[0]][1], refused.args[1])
                reply = predict_pb2.PredictResponse()
                for key, value in outputs.items():
                    reply.outputs[key].CopyFrom(tf.make_tensor_proto(value))
                return reply

            def GetModelMetadata(self, request, context):
                spec = request.model_spec
                try:
                    signatures = stand_in.metadata(spec.name, spec.version.value if spec.HasField("version") else None)
                except Refused as refused:
                    context.abort(STATUS[refused.args[0]][1], refused.args[1])
                reply = get_model_metadata_pb2.GetModelMetadataResponse()
                reply.metadata["signature_def"].Pack(signatures)
                return reply

        return Servicer()


def _jsonable(name, value):
    """A string that is not named *_bytes goes out as it is, as the server does it, and WAV files are not UTF-8."""
    if value.dtype != object:
        return value.tolist()
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(item).decode()} for item in value]
    return [item.decode() for item in value]


def _tensor(proto, dtype):
    if proto.dtype != dtype.as_datatype_enum:
        raise TypeError(f"expected {dtype.name}, received {tf.dtypes.as_dtype(proto.dtype).name}")
    size = int(np.prod([axis.size for axis in proto.tensor_shape.dim], dtype=np.float64))
    if not 0 <= size <= 2**24:
        raise ValueError(f"a tensor of {size} numbers")
    return tf.constant(tf.make_ndarray(proto))


if __name__ == "__main__":
    served = StandIn(*sys.argv[1:])
    print(served.rest, served.grpc, flush=True)
    sys.stdin.read()
    served.stop()
