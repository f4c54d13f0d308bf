"""What a patient hand writes: FastAPI, ONNX Runtime, the protocol's JSON and its binary tensors. `serve.py <port> <folder of models>`"""
import json
import os
import sys

import numpy
import onnxruntime
import uvicorn
from fastapi import FastAPI, Request, Response

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
folder = sys.argv[2]
sessions = {
    name[: -len(".onnx")]: onnxruntime.InferenceSession(os.path.join(folder, name), options, providers=["CPUExecutionProvider"])
    for name in os.listdir(folder)
    if name.endswith(".onnx")
}
app = FastAPI()


@app.get("/ready")
async def ready():
    return {"ready": True}


@app.post("/v2/models/{model}/infer")
async def infer(model: str, request: Request):
    body = await request.body()
    header = request.headers.get("inference-header-content-length")
    if header is None:
        (given,) = json.loads(body)["inputs"]
        x = numpy.array(given["data"], dtype=numpy.float32).reshape(given["shape"])
    else:
        size = int(header)
        (given,) = json.loads(body[:size])["inputs"]
        x = numpy.frombuffer(body, dtype=numpy.float32, offset=size).reshape(given["shape"])
    (y,) = sessions[model].run(["y"], {given["name"]: x})
    answer = {"model_name": model, "model_version": "1", "outputs": [{"name": "y", "datatype": "FP32", "shape": list(y.shape)}]}
    if header is None:
        answer["outputs"][0]["data"] = y.ravel().tolist()
        return Response(json.dumps(answer), media_type="application/json")
    raw = y.tobytes()
    answer["outputs"][0]["parameters"] = {"binary_data_size": len(raw)}
    text = json.dumps(answer).encode()
    return Response(text + raw, media_type="application/octet-stream", headers={"inference-header-content-length": str(len(text))})


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), workers=1, access_log=False, log_level="warning")
