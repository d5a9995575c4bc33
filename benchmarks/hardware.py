"""What the hardware of a benchmark can do, and how much of it a process has used."""

import statistics
import time
from pathlib import Path

import torch
from tables import machine

from clinical_ner.encoders import FastLinear


def describe_hardware(*packages: str) -> dict:
    """The machine, its GPU, and the versions of torch, transformers and other packages."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return machine("torch", "transformers", *packages) | {"gpu": gpu}


GPU_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "A10G": 70e12}
"""Dense bfloat16 operations a second, by Nvidia's data sheets (of the SXM cards)."""


def peak_flops(device: str, half: bool) -> float:
    """Floating-point operations a second of the hardware: of a known GPU, or as measured."""
    name = torch.cuda.get_device_name() if device == "cuda" else ""
    known = [flops for part, flops in GPU_FLOPS.items() if part in name and half]
    return known[0] if known else matmul_flops(device, half)


def matmul_flops(device: str, half: bool, size: int = 4096, rounds: int = 5) -> float:
    """Floating-point operations a second of the quickest product of two large square matrices."""
    kind = torch.bfloat16 if half else torch.float32
    size = size if device != "cpu" else size // 2
    a = torch.randn(size, size, device=device, dtype=kind)
    layers = (torch.nn.Linear, FastLinear)
    ways = [layer(size, size, bias=False, device=device, dtype=kind) for layer in layers]
    return 2 * size**3 / min(_seconds(way, a, rounds) for way in ways)


@torch.inference_mode()
def _seconds(layer: torch.nn.Module, rows: torch.Tensor, rounds: int) -> float:
    """The median of the times of a layer, after a first run."""
    seconds, times = [], 1 if rows.device.type == "cpu" else 50
    for _ in range(1 + rounds):
        start = time.perf_counter()
        for _ in range(times):
            made = layer(rows)
        float(made[0, 0])  # waits for the GPU
        seconds.append((time.perf_counter() - start) / times)
    return statistics.median(seconds[1:])


def forward_flops(config, lengths: list[int]) -> float:
    """Floating-point operations of an encoder's linear layers and attention on windows."""
    hidden, inner = config.hidden_size, config.intermediate_size
    layer = 2 * (4 * hidden * hidden + 2 * hidden * inner)  # of each token
    attention = 4 * hidden  # of each token, for each token of its window
    return config.num_hidden_layers * sum(n * layer + n * n * attention for n in lengths)


def peak_bytes() -> int:
    """The most memory that this process has had: of the GPU, where it used one."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    lines = Path("/proc/self/status").read_text().splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(peak) * 1024
