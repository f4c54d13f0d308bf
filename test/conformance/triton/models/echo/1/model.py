import time

import triton_python_backend_utils as triton

NAMES = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "fp16", "fp32", "fp64", "bytes"]


class TritonPythonModel:
    """
    Gives every tensor back. A negative `control` fails, a positive one takes so many milliseconds.
    BF16, which numpy does not know, goes from hand to hand as a DLPack capsule.
    """

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        control = triton.get_input_tensor_by_name(request, "control").as_numpy()[0]
        if control < 0:
            return triton.InferenceResponse([], triton.TritonError("negative numbers are not for this model"))
        time.sleep(control / 1000)
        tensors = [triton.Tensor(f"echo_{name}", triton.get_input_tensor_by_name(request, name).as_numpy()) for name in NAMES]
        bf16 = triton.get_input_tensor_by_name(request, "bf16")
        return triton.InferenceResponse([*tensors, triton.Tensor.from_dlpack("echo_bf16", bf16.to_dlpack())])
