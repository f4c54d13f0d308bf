import triton_python_backend_utils as triton


class TritonPythonModel:
    """Version 1: 2 times the input."""

    def execute(self, requests):
        return [triton.InferenceResponse([triton.Tensor("y", 2 * triton.get_input_tensor_by_name(request, "x").as_numpy())]) for request in requests]
