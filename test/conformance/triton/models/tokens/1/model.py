import threading
import time

import numpy
import triton_python_backend_utils as triton


class TritonPythonModel:
    """
    Answers `count` tokens, one by one with a pause before each. The prompt `fail` ends with an error after them; the prompt
    `cancelled` is answered at once with how many requests their callers have left.
    """

    def initialize(self, _args):
        self.cancelled = 0

    def execute(self, requests):
        for request in requests:
            threading.Thread(target=self.answer, args=(request,), daemon=True).start()
        return None

    def answer(self, request):
        sender = request.get_response_sender()
        prompt = triton.get_input_tensor_by_name(request, "prompt").as_numpy()[0].decode()
        count = int(triton.get_input_tensor_by_name(request, "count").as_numpy()[0])
        pause = int(triton.get_input_tensor_by_name(request, "pause_ms").as_numpy()[0]) / 1000
        if prompt == "cancelled":
            sender.send(self.piece(str(self.cancelled), 0))
            count = 0
        for index in range(count):
            time.sleep(pause)
            if sender.is_cancelled():
                self.cancelled += 1
                break
            sender.send(self.piece(f"{prompt}-{index}", index + 1))
        if prompt == "fail":
            sender.send(triton.InferenceResponse([], triton.TritonError("the model lost its thread")))
        sender.send(flags=triton.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def piece(self, text, generated):
        return triton.InferenceResponse([
            triton.Tensor("text", numpy.array([text.encode()], dtype=numpy.object_)),
            triton.Tensor("generated", numpy.array([generated], dtype=numpy.int32)),
        ])
