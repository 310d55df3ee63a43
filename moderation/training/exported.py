"""The second tier's weights as they are in the exported file, to go on training from.

int8 keeps each weight to within half a step of its channel's scale, which a few passes of training mend.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

PREFIX = "net."
"""What the exporting module calls the network."""


def exported_weights(file: Path) -> dict[str, torch.Tensor]:
    """The network's weights by their names, from what `moderation.training.transformer` exported."""
    graph = onnx.load(str(file)).graph
    arrays = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    found = {
        name.removeprefix(PREFIX): array
        for name, array in arrays.items()
        if name.startswith(PREFIX) and name.endswith((".weight", ".bias"))
    }
    for name in arrays:
        if name.startswith(f"{PREFIX}encoder.embeddings") and name.endswith("_quantized"):
            whole = name.removesuffix("_quantized")
            found[whole.removeprefix(PREFIX)] = _whole(arrays, whole)
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            layer = node.name.split("/")[2:-1]  # "", "net", then the way to the layer, then the operation
            name = ".".join([*layer, "weight"]) if layer[0] != "head" else "head.weight"
            found[name] = _whole(arrays, node.input[1].removesuffix("_quantized")).T
    return {name: torch.tensor(np.ascontiguousarray(array, np.float32)) for name, array in found.items()}


def _whole(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """An int8 or uint8 array as the numbers that it stands for."""
    steps = arrays[f"{name}_quantized"].astype(np.float32) - arrays[f"{name}_zero_point"].astype(np.float32)
    return np.asarray(steps * arrays[f"{name}_scale"])
