"""ONNX Runtime behind MLServer."""
import os

import numpy
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class OnnxModel(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = os.path.join(os.environ["BENCH_MODELS"], self.name + ".onnx")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload):
        given = payload.inputs[0]
        x = numpy.asarray(NumpyCodec.decode_input(given), dtype=numpy.float32)
        (y,) = self.session.run(["y"], {given.name: x})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", y)])
