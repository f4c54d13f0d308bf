"""A stock Open Inference Protocol client, unchanged: sends every datatype to models of argv[1] (REST) and argv[2] (gRPC) that give back what they get, reads a sequence, and prints what came."""
import json
import queue
import sys

import ml_dtypes
import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

rest = http.InferenceServerClient(sys.argv[1].removeprefix("http://"))
rpc = grpc.InferenceServerClient(sys.argv[2].removeprefix("grpc://"))

VALUES = {
    "BOOL": [[True, False], [False, True]],
    "INT8": [[-128, 127]], "INT16": [[-32768, 32767]], "INT32": [[-(2**31), 2**31 - 1]], "INT64": [[-(2**63), 2**63 - 1]],
    "UINT8": [[0, 255]], "UINT16": [[0, 65535]], "UINT32": [[0, 2**32 - 1]], "UINT64": [[0, 2**64 - 1]],
    # all of them are exact in the narrowest of these types
    "FP16": [[0.5, -65504.0]], "BF16": [[0.5, -3.0]], "FP32": [[0.5, -3.0]], "FP64": [[0.1, -1e300]],
    "BYTES": [["", "München"], ["a\nb", "€"]],
}


def array(datatype):
    if datatype == "BYTES":
        return np.array([[text.encode() for text in row] for row in VALUES[datatype]], dtype=np.object_)
    return np.array(VALUES[datatype], dtype=ml_dtypes.bfloat16 if datatype == "BF16" else triton_to_np_dtype(datatype))


def same(given, got):
    if got is not None and got.dtype == np.object_:
        # JSON gives texts back as texts
        got = np.array([[text.encode() if isinstance(text, str) else text for text in row] for row in got], dtype=np.object_)
    return got is not None and got.shape == given.shape and bool((got == given).all())


def infer(client, library, datatype, **binary):
    given = array(datatype)
    tensor = library.InferInput("x", list(given.shape), datatype)
    try:
        tensor.set_data_from_numpy(given, **binary)
        outputs = [library.InferRequestedOutput("y", **binary)]
        return same(given, client.infer(datatype.lower(), [tensor], outputs=outputs).as_numpy("y"))
    except InferenceServerException as error:
        return error.message()


def sequence():
    answers = queue.Queue()
    text = grpc.InferInput("text_input", [1], "BYTES")
    text.set_data_from_numpy(np.array([b"one two three"], dtype=np.object_))
    most = grpc.InferInput("max_tokens", [1], "INT32")
    most.set_data_from_numpy(np.array([3], dtype=np.int32))
    rpc.start_stream(callback=lambda result, error: answers.put((result, error)))
    rpc.async_stream_infer("eta", [text, most], request_id="stock", enable_empty_final_response=True)
    got = []
    while True:
        result, error = answers.get(timeout=60)
        if error:
            got.append(str(error))
            break
        response = result.get_response()
        words = result.as_numpy("text_output")
        got.append({"id": response.id, "words": [] if words is None else [word.decode() for word in words.ravel()]})
        if response.parameters["triton_final_response"].bool_param:
            break
    rpc.stop_stream()
    return got


print(json.dumps({
    "binary": {datatype: infer(rest, http, datatype, binary_data=True) for datatype in VALUES},
    "json": {datatype: infer(rest, http, datatype, binary_data=False) for datatype in VALUES},
    "grpc": {datatype: infer(rpc, grpc, datatype) for datatype in VALUES},
    "sequence": sequence(),
}))
