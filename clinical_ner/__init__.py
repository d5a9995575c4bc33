"""Named entity recognition in clinical text, from raw corpus to published model.

Every public function and class of the chapters is offered here and loaded when it is first used
(PEP 562), so that `import clinical_ner` costs next to nothing.
"""

from importlib import import_module

__version__ = "0.1.0"


def _modules() -> dict[str, str]:
    """The module of each public name, from the index that nbdev writes at every export."""
    from ._modidx import d

    return {
        name.rsplit(".", 1)[1]: module
        for module, names in d["syms"].items()
        for name in names
        if name.count(".") == 2 and not name.rsplit(".", 1)[1].startswith("_")
    }


def __getattr__(name: str):
    module = None if name.startswith("_") else _modules().get(name)
    if module is None:
        raise AttributeError(f"module 'clinical_ner' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_modules()})
