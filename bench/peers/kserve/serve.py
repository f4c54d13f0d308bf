"""KServe's model server with ONNX Runtime. `serve.py <http port> <grpc port> <folder of models>`"""
import logging
import os
import sys

import numpy
import onnxruntime
from kserve import InferOutput, InferResponse, Model, ModelServer


class OnnxModel(Model):
    def __init__(self, name, path):
        super().__init__(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.ready = True

    def predict(self, payload, headers=None):
        given = payload.inputs[0]
        (y,) = self.session.run(["y"], {given.name: numpy.asarray(given.as_numpy(), dtype=numpy.float32)})
        output = InferOutput("y", list(y.shape), "FP32")
        output.set_data_from_numpy(y, binary_data=payload.from_grpc)
        return InferResponse(payload.id or "1", self.name, [output])


if __name__ == "__main__":
    http, grpc, folder = sys.argv[1:4]
    sys.argv = [sys.argv[0]]
    models = [OnnxModel(name[: -len(".onnx")], os.path.join(folder, name)) for name in os.listdir(folder) if name.endswith(".onnx")]
    for name in ("kserve", "kserve.trace", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.ERROR)
    ModelServer(http_port=int(http), grpc_port=int(grpc), workers=1, enable_latency_logging=False, access_log_format=None).start(models)
