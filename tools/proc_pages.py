"""Make the pages of the project in the working folder, as `nbdev_docs` does before it calls Quarto.

nbdev's own command for this step installs Quarto where it is absent.
"""

import nbdev.doclinks
from nbdev.config import get_config
from nbdev.quarto import nbdev_sidebar, refresh_quarto_yml
from nbdev.serve import proc_nbs

if __name__ == "__main__":  # proc_nbs starts processes that import this file
    refresh_quarto_yml()
    nbdev.doclinks._build_modidx()
    nbdev_sidebar.__wrapped__()
    proc_nbs(get_config().nbs_path)
