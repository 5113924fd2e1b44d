"""The model ``bright`` with time to be interrupted in: every reading takes two seconds."""

import time

import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    def execute(self, requests):
        return [self._read(request) for request in requests]

    def _read(self, request):
        time.sleep(2)
        volume = pb.get_input_tensor_by_name(request, "VOLUME").as_numpy()
        labels = (volume > 500).astype(np.uint8)
        scores = np.array([1.0 if labels.any() else 0.0], np.float32)
        return pb.InferenceResponse([pb.Tensor("LABELS", labels), pb.Tensor("SCORES", scores)])
