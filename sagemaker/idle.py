"""Stop this notebook instance if nothing has happened on it for some time (see on_start.sh).

A kernel that is at work, a terminal with output and a command of clinical_ner count as activity, a
browser tab does not: a training run goes on when its tab is closed, and an open tab costs nothing.
"""

import argparse
import json
import ssl
import subprocess
import time
from datetime import datetime
from pathlib import Path
from urllib.request import urlopen

SERVER = "https://localhost:8443"
METADATA = "/opt/ml/metadata/resource-metadata.json"


def ask(server: str, what: str) -> list[dict]:
    """What Jupyter lists: its certificate is its own, and no request leaves the machine."""
    context = ssl._create_unverified_context()
    with urlopen(f"{server}/api/{what}", timeout=30, context=context) as answer:
        return json.load(answer)


def last_activity(kernels: list[dict], terminals: list[dict], now: float) -> float:
    """When something happened, in seconds; 0 if nothing has."""
    if any(kernel["execution_state"] == "busy" for kernel in kernels):
        return now
    times = [entry["last_activity"] for entry in [*kernels, *terminals]]
    return max((datetime.fromisoformat(text).timestamp() for text in times), default=0.0)


def seconds_up() -> float:
    """Seconds since this machine was started."""
    return float(Path("/proc/uptime").read_text().split()[0])


def command_runs() -> bool:
    """Whether a command of clinical_ner is at work."""
    search = ["pgrep", "-f", "bin/clinical_ner_"]
    return subprocess.run(search, stdout=subprocess.DEVNULL).returncode == 0


def idle_seconds(server: str) -> float:
    """Seconds since the last activity, or since the start, if that was later."""
    if command_runs():
        return 0.0
    now = time.time()
    active = last_activity(ask(server, "kernels"), ask(server, "terminals"), now)
    return min(now - active, seconds_up())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, required=True)
    parser.add_argument("--server", default=SERVER)
    parser.add_argument("--metadata", default=METADATA)
    given = parser.parse_args()
    if idle_seconds(given.server) > 60 * given.minutes:
        name = json.loads(Path(given.metadata).read_text())["ResourceName"]
        stop = ["aws", "sagemaker", "stop-notebook-instance", "--notebook-instance-name", name]
        subprocess.run(stop, check=True)


if __name__ == "__main__":
    main()
