"""The lifecycle script of a SageMaker notebook instance, with stand-ins of what it calls, and the
watch for idleness, against a server that answers as Jupyter does."""

import importlib.util
import json
import os
import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).parent.parent / "sagemaker"
SCRIPT = FOLDER / "on_start.sh"

# Each says what it was asked for; conda and git also make what they would make.
LOG = 'echo "$(basename "$0") $*" >> "$CALLS"\n'
PIP = LOG + 'test ! -e "$VOLUME/no-network"\n'
STAND_INS = {
    "chown": LOG,
    "systemd-run": LOG,
    "sudo": LOG + 'shift 3\n"$@" || true\necho over >> "$CALLS"\n',  # sudo -u OWNER -i COMMAND
    "git": LOG + 'mkdir -p "${@: -1}"\n',
    "conda": LOG + 'mkdir -p "$4/bin"\ncp "$TOOLS/pip" "$TOOLS/python" "$4/bin"\n',
    "pip": PIP,
    "python": LOG,
}


@pytest.fixture
def instance(tmp_path):
    """Start the instance: the lines of what was called, once the script and its setting up are over."""
    tools, volume, calls = tmp_path / "tools", tmp_path / "SageMaker", tmp_path / "calls"
    tools.mkdir()
    volume.mkdir()
    for name, body in STAND_INS.items():
        (tools / name).write_text(f"#!/bin/bash\nset -e\n{body}")
        (tools / name).chmod(0o755)
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "TOOLS": str(tools)}
    environment |= {
        "VOLUME": str(volume),
        "CALLS": str(calls),
        "PROFILE": str(tmp_path / "profile"),
    }

    def start(**settings) -> list[str]:
        calls.write_text("")
        done = subprocess.run(
            ["bash", str(SCRIPT)],
            env=environment | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,  # until the setting up has closed the output, too
        )
        assert done.returncode == 0, done.stdout
        wait_for_setting_up(calls)
        return calls.read_text().splitlines()

    return SimpleNamespace(start=start, place=volume / "clinical_ner", volume=volume)


def wait_for_setting_up(calls: Path):
    """Wait for what the script does in the background."""
    until = time.monotonic() + 60
    while "over\n" not in calls.read_text():
        assert time.monotonic() < until, calls.read_text()
        time.sleep(0.05)


def test_the_script_is_one_that_sagemaker_takes():
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    assert len(SCRIPT.read_text()) <= 16384  # characters of a lifecycle configuration
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(SCRIPT)], check=True)


def test_everything_large_is_on_the_volume(instance, tmp_path):
    calls = instance.start()
    env, hub = instance.place / "env", instance.place / "hub"
    assert any(call.startswith("git clone") and call.endswith("/source") for call in calls)
    (made,) = [call for call in calls if call.startswith("conda")]
    assert f"conda create --yes --prefix {env} " in made and made.endswith(" python=3.12 pip")
    assert "--override-channels --channel conda-forge" in made  # the defaults ask for consent
    assert f"pip install --no-cache-dir {instance.place}/source[aws] ipykernel" in calls
    (kernel,) = [call for call in calls if "ipykernel install" in call]
    assert f"--env HF_HOME {hub} " in kernel and hub.is_dir()
    assert kernel.endswith(f"--env PATH {env}/bin:${{PATH}}")  # Jupyter fills in the rest
    assert (tmp_path / "profile").read_text() == f"export HF_HOME={hub}\n"
    assert (instance.place / "ready").exists()


def test_a_later_start_installs_nothing_and_shows_the_kernel(instance):
    instance.start()
    calls = instance.start()
    assert not any(call.split()[0] in ("git", "conda", "pip") for call in calls)
    assert any("ipykernel install" in call for call in calls)


def test_a_start_that_broke_off_is_made_up_for(instance):
    (instance.volume / "no-network").touch()
    calls = instance.start()
    assert not any("ipykernel install" in call for call in calls)
    assert not (instance.place / "ready").exists()
    (instance.volume / "no-network").unlink()
    calls = instance.start()
    assert any(call.startswith("conda create") for call in calls)
    assert any("ipykernel install" in call for call in calls)


def test_idleness_is_watched_unless_told_not_to(instance):
    (watch,) = [call for call in instance.start() if call.startswith("systemd-run")]
    assert watch.endswith(f"{instance.place}/source/sagemaker/idle.py --minutes 60")
    assert not any(call.startswith("systemd-run") for call in instance.start(IDLE_MINUTES="0"))


# The watch


class Jupyter(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(self.server.state[self.path]).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def watch(monkeypatch, tmp_path):
    """Look once at a server with these kernels and terminals: the command that stops the instance."""
    spec = importlib.util.spec_from_file_location("idle", FOLDER / "idle.py")
    idle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(idle)
    (tmp_path / "metadata.json").write_text('{"ResourceName": "mine"}')
    server = HTTPServer(("127.0.0.1", 0), Jupyter)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def look(kernels=(), terminals=(), command=False, up=10_000.0) -> list[list[str]]:
        server.state = {"/api/kernels": list(kernels), "/api/terminals": list(terminals)}
        asked = []

        monkeypatch.setattr(idle, "command_runs", lambda: command)
        monkeypatch.setattr(idle, "seconds_up", lambda: up)
        run = SimpleNamespace(run=lambda words, check: asked.append(words))
        monkeypatch.setattr(idle, "subprocess", run)
        address = f"http://127.0.0.1:{server.server_port}"
        words = ["idle.py", "--minutes", "60", "--server", address]
        monkeypatch.setattr("sys.argv", [*words, "--metadata", str(tmp_path / "metadata.json")])
        idle.main()
        return asked

    yield look
    server.shutdown()
    server.server_close()


def since(minutes: float, state: str = "idle") -> dict:
    text = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(time.time() - 60 * minutes))
    return {"last_activity": text, "execution_state": state}


STOP = ["aws", "sagemaker", "stop-notebook-instance", "--notebook-instance-name", "mine"]


def test_an_idle_instance_stops(watch):
    assert watch() == [STOP]
    assert watch([since(70), since(90)], [since(80)]) == [STOP]


@pytest.mark.parametrize(
    "active",
    [
        {"kernels": [since(70), since(600, "busy")]},  # training; its tab may be closed
        {"kernels": [since(70), since(10)]},
        {"kernels": [since(70)], "terminals": [since(70), since(10)]},
        {"kernels": [since(70)], "command": True},  # clinical_ner_train after nohup
        {"up": 600.0},  # just started
    ],
)
def test_one_at_work_goes_on(watch, active):
    assert watch(**active) == []
