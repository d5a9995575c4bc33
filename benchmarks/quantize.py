"""An exported tagger in 8-bit integers: the library leaves it out, and `annotate.py` shows why.

Static quantisation of ONNX Runtime (https://onnxruntime.ai/docs/performance/model-optimizations):
the ranges of a layer's inputs are averages over
calibration texts, each output channel of a weight has a scale of its own, and the sensitive layers
stay as they are: the second of each feed-forward block, whose inputs have a few huge values among
small ones, and the classifier.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from clinical_ner.core import Document
from clinical_ner.tagger import Tagger
from clinical_ner.windows import make_windows


def calibration_rows(docs: list[Document], tokenizer, most: int = 65_536) -> list[np.ndarray]:
    """Windows of texts in any order, of about `most` tokens in all."""
    windows = make_windows(docs, tokenizer)
    order = np.random.default_rng(0).permutation(len(windows))
    rows = [np.array([windows[i].input_ids]) for i in order]
    return rows[: 1 + int(np.searchsorted(np.cumsum([row.size for row in rows]), most))]


class Rows:
    """Rows, as ONNX Runtime's calibrator takes them."""

    def __init__(self, rows: list[np.ndarray]):
        self.rows: Iterator[np.ndarray] = iter(rows)

    def get_next(self) -> dict | None:
        """The inputs of one run; None at the end."""
        row = next(self.rows, None)
        return None if row is None else {"input_ids": row, "attention_mask": np.ones_like(row)}


def robust_layers(path: Path, hidden: int, tags: int) -> list[str]:
    """Names of the products with weights, but for those that narrow, and the classifier."""
    graph = onnx.load(str(path)).graph
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    layers = {
        node.name: shapes[node.input[1]]
        for node in graph.node
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in shapes
    }
    return [
        name
        for name, shape in layers.items()
        if len(shape) == 2 and set(shape) != {hidden, tags} and not shape[0] > shape[1]
    ]


def quantize(path: Path, tagger: Tagger, docs: list[Document]):
    """Turn a model.onnx into one of 8 bits, in its place."""
    config = tagger.net.config
    with tempfile.TemporaryDirectory() as folder:
        prepared, small = Path(folder, "prepared.onnx"), Path(folder, "model.onnx")
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            small,
            Rows(calibration_rows(docs, tagger.tokenizer)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_quantize=robust_layers(prepared, config.hidden_size, config.num_labels),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"CalibMovingAverage": True},  # one odd token widens no range
        )
        shutil.move(small, path)
