"""A stock Open Inference Protocol client, unchanged: asks the brain at argv[1] what argv[2] (an OIP request as JSON) says, and prints what it got."""
import json
import sys

import numpy as np
import queue

import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

url, request, model, address = sys.argv[1].removeprefix("http://"), json.loads(sys.argv[2]), sys.argv[3], sys.argv[4].removeprefix("grpc://")
client = http.InferenceServerClient(url)


def tensors(binary):
    for tensor in request["inputs"]:
        dtype = np.object_ if tensor["datatype"] == "BYTES" else triton_to_np_dtype(tensor["datatype"])
        given = http.InferInput(tensor["name"], tensor["shape"], tensor["datatype"])
        given.set_data_from_numpy(np.array(tensor["data"], dtype=dtype).reshape(tensor["shape"]), binary_data=binary)
        yield given


def infer(binary, name=model, inputs=None, **options):
    wanted = [http.InferRequestedOutput("late_probability", binary_data=binary)]
    answer = client.infer(name, list(tensors(binary)) if inputs is None else inputs, outputs=wanted, request_id="stock", **options)
    return {"id": answer.get_response()["id"], "data": answer.as_numpy("late_probability").astype(float).ravel().tolist()}


def refusal(call):
    try:
        call()
    except InferenceServerException as error:
        return {"status": error.status(), "message": error.message()}
    return None


def over_grpc():
    client = grpc.InferenceServerClient(address)

    def tensors():
        for tensor in request["inputs"]:
            dtype = np.object_ if tensor["datatype"] == "BYTES" else triton_to_np_dtype(tensor["datatype"])
            given = grpc.InferInput(tensor["name"], tensor["shape"], tensor["datatype"])
            given.set_data_from_numpy(np.array(tensor["data"], dtype=dtype).reshape(tensor["shape"]))
            yield given

    def read(answer):
        return {"id": answer.get_response().id, "data": answer.as_numpy("late_probability").astype(float).ravel().tolist()}

    def infer(name=model, inputs=None, **options):
        return read(client.infer(name, list(tensors()) if inputs is None else inputs, request_id="stock", **options))

    def stream():
        answers = queue.Queue()
        client.start_stream(callback=lambda result, error: answers.put((result, error)))
        client.async_stream_infer(model, list(tensors()), request_id="stock")
        result, error = answers.get(timeout=30)
        client.stop_stream()
        return {"error": str(error)} if error else read(result)

    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "health": client.is_server_ready(headers={"x-request-id": "health"}),
        "modelReady": client.is_model_ready(model),
        "versionReady": client.is_model_ready(model, "1"),
        "otherReady": False if refusal(lambda: client.is_model_ready(model, "7")) else None,
        "server": client.get_server_metadata(as_json=True),
        "inputs": [tensor.name for tensor in client.get_model_metadata(model).inputs],
        "infer": infer(),
        "version": infer(model_version="1"),
        "stream": stream(),
        "deadline": refusal(lambda: infer(client_timeout=0.000001)),
        "unknownModel": refusal(lambda: infer(name="nobody")),
        "unknownVersion": refusal(lambda: infer(model_version="7")),
        "missingInput": refusal(lambda: infer(inputs=list(tensors())[1:])),
    }


print(json.dumps({
    "grpc": over_grpc(),
    "live": client.is_server_live(),
    "ready": client.is_server_ready(),
    "modelReady": client.is_model_ready(model),
    "versionReady": client.is_model_ready(model, "1"),
    "server": client.get_server_metadata(),
    "metadata": client.get_model_metadata(model),
    "json": infer(False),
    "binary": infer(True),
    "version": infer(True, model_version="1"),
    "unknownModel": refusal(lambda: infer(True, name="nobody")),
    "unknownVersion": refusal(lambda: infer(True, model_version="7")),
    "missingInput": refusal(lambda: infer(True, inputs=list(tensors(True))[1:])),
}))
