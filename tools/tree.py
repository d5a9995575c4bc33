"""A copy of what nbdev reads and writes, so that a check never touches the working tree."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("settings.ini", "_quarto.yml", "nbs", "clinical_ner")
_MADE = shutil.ignore_patterns(
    "__pycache__", ".ipynb_checkpoints", ".last_checked", "nbdev.yml", "sidebar.yml"
)


def copy_tree(
    target: Path,  # an existing empty folder
    root: Path = ROOT,  # the project
):
    """Copy the notebooks, the package and nbdev's settings to `target`."""
    for name in NAMES:
        if (root / name).is_dir():
            shutil.copytree(root / name, target / name, ignore=_MADE)
        else:
            shutil.copy2(root / name, target / name)


def read_tree(
    root: Path,  # a project, or a copy of it
) -> dict[str, bytes]:  # content by path
    """Every notebook and module under `root`."""
    found = [*root.glob("nbs/**/*.ipynb"), *root.glob("clinical_ner/**/*.py")]
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(found)
        if ".ipynb_checkpoints" not in path.parts
    }


def run_in(
    root: Path,  # working folder, and the first place where Python looks for the package
    *command: str,  # program and arguments
) -> str:
    """The output of `command`, errors included; a failure raises `RuntimeError` with its end."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    env = {**os.environ, "PYTHONPATH": str(root), "PATH": path}
    env.pop("IN_TEST", None)  # nbdev exports nothing where it is set
    done = subprocess.run(
        command, cwd=root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        end = "\n".join(done.stdout.splitlines()[-20:])
        raise RuntimeError(f"{' '.join(command)} failed:\n{end}")
    return done.stdout
