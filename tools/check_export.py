"""Check that the package is what its notebooks export, and that the notebooks are clean.

nbdev's own commands say nothing when they change a file, so both are run on a copy, which is then
compared. The working tree stays as it is, committed or not.
"""

import sys
import tempfile
from pathlib import Path

from tree import ROOT, copy_tree, read_tree, run_in

HAND_WRITTEN = {f"clinical_ner/{name}.py" for name in ("__init__", "all", "_pages")}


def changed_files(
    root: Path = ROOT,  # the project
) -> list[str]:
    """The notebooks that `nbdev_clean` and the modules that `nbdev_export` would change, add or miss.

    Modules are removed from the copy first: one whose notebook has gone, or has been renamed, is
    then not made again.
    """
    before = read_tree(root)
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        copy = Path(folder)
        copy_tree(copy, root)
        for name in before:
            if name.startswith("clinical_ner/") and name not in HAND_WRITTEN:
                (copy / name).unlink()
        run_in(copy, "nbdev_clean")
        run_in(copy, "nbdev_export")
        after = read_tree(copy)
    return sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )


if __name__ == "__main__":
    if changed := changed_files():
        print("nbdev_export and nbdev_clean would change, make or not make:", *changed, sep="\n  ")
        sys.exit("run both and commit what they write; remove a module that no notebook makes")
    print("nbdev_export and nbdev_clean change nothing")
