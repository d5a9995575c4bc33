"""The package as it is installed and imported."""

import ast
import configparser
import inspect
import os
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

import clinical_ner

ROOT = Path(__file__).resolve().parent.parent
HEAVY = "torch transformers datasets numpy pandas matplotlib IPython ipywidgets fastcore seqeval"


def run_python(code, *options, **environ):
    """What a fresh interpreter prints for `code`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def test_the_import_is_quick_and_loads_nothing_heavy():
    code = (
        "import time; t = time.perf_counter(); import clinical_ner\nt = time.perf_counter() - t\n"
    )
    code += f"import sys; print(t, *[m for m in {HEAVY.split()} if m in sys.modules])"
    seconds, *loaded = min((run_python(code).split() for _ in range(3)), key=lambda x: float(x[0]))
    assert loaded == []
    assert float(seconds) < 0.3


@pytest.mark.parametrize("module", ["core", "samples", "tags", "formats", "errors", "display"])
def test_the_chapters_on_text_need_the_standard_library_only(module):
    if not (ROOT / "clinical_ner" / f"{module}.py").exists():
        pytest.skip(f"there is no chapter {module} yet")
    code = f"import clinical_ner.{module}, sys; print(*[m for m in {HEAVY.split()} if m in sys.modules])"
    assert run_python(code).split() == []


def public_names():
    """Module by public name, read from the `__all__` of every module."""
    owners = {}
    for path in sorted((ROOT / "clinical_ner").glob("[!_]*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                owners.update(dict.fromkeys(ast.literal_eval(node.value), path.stem))
    return owners


def test_what_saves_text_of_notes_has_one_name_and_is_off():
    having = {}
    for name, module in public_names().items():
        value = getattr(import_module(f"clinical_ner.{module}"), name)
        if not callable(value):
            continue
        for option in inspect.signature(value).parameters.values():
            assert option.name not in ("keep_text", "no_text"), name
            assert option.name != "text" or option.annotation is not bool, name
            if option.name == "include_text":
                having[name] = option.default
    names = ("explore", "review", "report", "annotate", "Explorer", "Review")
    assert having == dict.fromkeys(
        (*names, "clinical_ner_annotate", "clinical_ner_evaluate"), False
    )


def test_every_public_function_and_class_is_offered_lazily():
    names = public_names()
    assert "Document" in names and "read_jsonl" in names
    for name, module in names.items():
        value = getattr(import_module(f"clinical_ner.{module}"), name)
        if isinstance(value, type) or callable(value):
            assert getattr(clinical_ner, name) is value
            assert name in dir(clinical_ner)


def test_all_takes_every_public_name():
    everything = import_module("clinical_ner.all")
    for name, module in public_names().items():
        value = getattr(import_module(f"clinical_ner.{module}"), name)
        assert getattr(everything, name) is value


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'clinical_ner' has no attribute 'nothing'"):
        clinical_ner.nothing  # noqa: B018
    with pytest.raises(AttributeError):
        clinical_ner._parts  # noqa: B018
    with pytest.raises(ImportError):
        exec("from clinical_ner import nothing")


def test_the_version_is_the_one_in_settings():
    parser = configparser.ConfigParser(delimiters=["="])
    parser.read(ROOT / "settings.ini")
    assert clinical_ner.__version__ == parser["DEFAULT"]["version"]


def test_every_package_of_settings_is_pinned():
    from packaging.requirements import Requirement

    parser = configparser.ConfigParser(delimiters=["="])
    parser.read(ROOT / "settings.ini")
    wanted = [
        Requirement(word)
        for key, value in parser["DEFAULT"].items()
        if key.endswith("requirements")
        for word in value.split()
    ]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    named = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    for need in wanted:
        assert need.specifier.contains(named[need.name.lower().replace("_", "-")]), need


def test_a_wheel_holds_the_modules(tmp_path):
    """In isolation, as `pip install .` builds it."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--use-pep517", "--no-deps"]
    source = tmp_path / "source"
    source.mkdir()
    for name in ("settings.ini", "setup.py", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    (source / "clinical_ner").mkdir()
    for path in (ROOT / "clinical_ner").glob("*.py"):
        (source / "clinical_ner" / path.name).write_bytes(path.read_bytes())
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(source)], check=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [path] = [name for name in names if name.endswith("METADATA")]
        metadata = archive.read(path).decode()
    wanted = {f"clinical_ner/{path.name}" for path in (ROOT / "clinical_ner").glob("*.py")}
    assert {name for name in names if name.endswith(".py")} == wanted
    assert "Provides-Extra: dev" in metadata and "Requires-Dist: torch>=" in metadata
