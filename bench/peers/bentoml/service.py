"""ONNX Runtime behind BentoML, with the protocol's JSON by hand."""
import os

import bentoml
import numpy
import onnxruntime
from starlette.requests import Request  # noqa: F401


def session_of(name):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(os.path.join(os.environ["BENCH_MODELS"], name + ".onnx"), options, providers=["CPUExecutionProvider"])


@bentoml.service(workers=1)
class Bench:
    def __init__(self):
        self.sessions = {name: session_of(name) for name in ("mlp", "image")}

    def answer(self, model, inputs):
        (given,) = inputs
        x = numpy.array(given["data"], dtype=numpy.float32).reshape(given["shape"])
        (y,) = self.sessions[model].run(["y"], {given["name"]: x})
        return {"model_name": model, "outputs": [{"name": "y", "datatype": "FP32", "shape": list(y.shape), "data": y.ravel().tolist()}]}

    @bentoml.api(route="/v2/models/mlp/infer")
    def mlp(self, inputs: list) -> dict:
        return self.answer("mlp", inputs)

    @bentoml.api(route="/v2/models/image/infer")
    def image(self, inputs: list) -> dict:
        return self.answer("image", inputs)
