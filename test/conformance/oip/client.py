"""A stock Open Inference Protocol client, unchanged: asks the brain at argv[1] what argv[2] (an OIP request as JSON) says, and prints what it got."""
import json
import sys

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

url, request, model = sys.argv[1].removeprefix("http://"), json.loads(sys.argv[2]), sys.argv[3]
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


print(json.dumps({
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
