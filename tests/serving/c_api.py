"""Load a SavedModel as TensorFlow Serving does, by the C library alone, and run a signature.

python c_api.py LIBRARY FOLDER INPUTS.npz OUTPUT.npy INPUT_TENSOR=NAME_IN_NPZ... -- OUTPUT_TENSOR
"""

import ctypes
import sys

import numpy as np

DTYPES = {1: np.dtype("f4"), 3: np.dtype("i4"), 9: np.dtype("i8")}
STRING = 7


class Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def main(library, folder, inputs_file, output_file, *tensors):
    tf = ctypes.CDLL(library)
    for name in (
        "NewStatus", "NewGraph", "NewSessionOptions", "LoadSessionFromSavedModel", "GraphOperationByName", "AllocateTensor",
        "TensorData", "StringGetDataPointer",
    ):  # fmt: skip
        getattr(tf, f"TF_{name}").restype = ctypes.c_void_p
    for name in ("Message",):
        getattr(tf, f"TF_{name}").restype = ctypes.c_char_p
    for name in ("Dim", "StringGetSize", "TensorByteSize"):
        getattr(tf, f"TF_{name}").restype = ctypes.c_int64
    pointer = ctypes.c_void_p
    status, graph = pointer(tf.TF_NewStatus()), pointer(tf.TF_NewGraph())

    def check():
        if tf.TF_GetCode(status):
            sys.exit(tf.TF_Message(status).decode())

    tags = (ctypes.c_char_p * 1)(b"serve")
    options = pointer(tf.TF_NewSessionOptions())
    session = pointer(tf.TF_LoadSessionFromSavedModel(options, None, folder.encode(), tags, 1, graph, None, status))
    check()

    def output(tensor):
        name, _, index = tensor.partition(":")
        operation = tf.TF_GraphOperationByName(graph, name.encode())
        assert operation, f"no operation {name}"
        return Output(operation, int(index))

    def tensor_of(array):
        code = next(code for code, dtype in DTYPES.items() if dtype == array.dtype)
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        tensor = tf.TF_AllocateTensor(code, shape, array.ndim, ctypes.c_size_t(array.nbytes))
        ctypes.memmove(tf.TF_TensorData(pointer(tensor)), array.ctypes.data, array.nbytes)
        return tensor

    arrays = np.load(inputs_file)
    split = tensors.index("--")
    pairs = [text.split("=") for text in tensors[:split]]
    feeds = (Output * len(pairs))(*(output(tensor) for tensor, _ in pairs))
    values = (pointer * len(pairs))(*(tensor_of(np.array(arrays[name], order="C")) for _, name in pairs))
    fetches, results = (Output * 1)(output(tensors[split + 1])), (pointer * 1)()
    tf.TF_SessionRun(session, None, feeds, values, len(pairs), fetches, results, 1, None, 0, None, status)
    check()
    result = pointer(results[0])
    shape = [tf.TF_Dim(result, i) for i in range(tf.TF_NumDims(result))]
    code, data = tf.TF_TensorType(result), tf.TF_TensorData(result)
    if code == STRING:
        items = [pointer(data + 24 * i) for i in range(int(np.prod(shape)))]  # sizeof(TF_TString)
        texts = [ctypes.string_at(tf.TF_StringGetDataPointer(item), tf.TF_StringGetSize(item)) for item in items]
        np.save(output_file, np.array(texts, object), allow_pickle=True)
    else:
        bytes_ = ctypes.string_at(data, tf.TF_TensorByteSize(result))
        np.save(output_file, np.frombuffer(bytes_, DTYPES[code]).reshape(shape))
    assert "tensorflow" not in sys.modules


if __name__ == "__main__":
    main(*sys.argv[1:])
