"""Make the pages of the project in the working folder, as `nbdev_docs` does before it calls Quarto.

nbdev's own command for this step installs Quarto where it is absent.
"""

from pathlib import Path

import nbdev.doclinks
from navigation import write_navigation
from nbdev.config import get_config
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs

if __name__ == "__main__":  # proc_nbs starts processes that import this file
    refresh_quarto_yml()
    nbdev.doclinks._build_modidx()
    write_navigation(Path.cwd())
    proc_nbs(get_config().nbs_path)
