"""What the benchmarks have measured, and on what: for them, and for the pages that show it."""

import json
import os
import platform
import re
from pathlib import Path

from clinical_ner.core import package_versions

RESULTS = Path(__file__).resolve().parent / "results"
CPUINFO = Path("/proc/cpuinfo")


def machine(
    *packages: str,  # whose versions matter
) -> dict:
    """What figures are measured on: processor, cores, and the versions of Python and `packages`."""
    cores = CPUINFO.read_text().split("\n\n") if CPUINFO.exists() else []
    told = dict(re.findall(r"(.+?)\t+: (.+)", cores[0])) if cores else {}
    cpu = told.get("model name", platform.processor())
    if "cpu family" in told:  # generations of one maker may share a name
        cpu += f", family {told['cpu family']} model {told.get('model')}"
    return {"cpu": cpu, "cores": os.cpu_count(), "versions": package_versions(*packages)}


def read(name: str) -> dict:
    """The file that `benchmarks/NAME.py` wrote."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def results(name: str) -> dict:
    """What `benchmarks/NAME.py` has measured."""
    return {key: value for key, value in read(name).items() if key != "machine"}


def made_on(name: str) -> str:
    """What `results(name)` were measured on, in words."""
    told = read(name)["machine"]
    if isinstance(told, str):
        return f"machine: {told}"
    count = f"{told['cores']} cores" if "cores" in told else f"{told['threads']} threads"
    versions = ", ".join(f"{key} {value}" for key, value in told["versions"].items())
    return "; ".join(filter(None, [f"{told['cpu']}, {count}", told.get("gpu"), versions]))
