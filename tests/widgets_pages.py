"""Notebooks served by Voila and opened in Chromium: what the browser tests of the widgets share."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def write_notebook(path, *cells):
    """A notebook with these code cells."""
    cells = [
        {
            "cell_type": "code",
            "id": f"c{i}",
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for i, source in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "python3", "language": "python"}
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    Path(path).write_text(json.dumps(notebook), encoding="utf-8")


def free_port():
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def serve(command, folder, port, ready):
    """Run a server until the block ends; `ready` is a path that answers once it is up."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_CONFIG_DIR": str(folder / ".config"),
        "JUPYTER_RUNTIME_DIR": str(folder / ".runtime"),
        "IPYTHONDIR": str(folder / ".ipython"),
        "HF_HUB_OFFLINE": "1",
    }
    with open(folder / "server.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=folder, env=env, stdout=log, stderr=log
        )
        try:
            wait_for(f"http://127.0.0.1:{port}{ready}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def wait_for(address, process, seconds=60):
    """Return once `address` answers; a server that has ended is an error."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{address} did not answer in {seconds} s")


def voila(folder, *options):
    """Voila with the notebooks of `folder`."""
    port = free_port()
    command = ["voila", str(folder), f"--port={port}", "--no-browser", "--Voila.ip=127.0.0.1"]
    return serve([*command, *options], folder, port, "/")


def jupyterlab(folder):
    """JupyterLab with the notebooks of `folder`, without a token, for this machine only."""
    port = free_port()
    command = ["jupyterlab", f"--port={port}", "--no-browser", "--IdentityProvider.token="]
    command += ["--ServerApp.password=", "--ip=127.0.0.1", "--allow-root"]
    command += [f"--notebook-dir={folder}", f"--LabApp.user_settings_dir={folder}/.settings"]
    command += [f"--LabApp.workspaces_dir={folder}/.workspaces"]
    return serve(command, folder, port, "/api")
