"""Find or install a Chromium for the browser tests: the system's, apt's, or Playwright's own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def has_own() -> bool:
    """Whether Playwright has a Chromium of its own here."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path).exists()


def install_by_apt() -> bool:
    """Whether Debian's or Ubuntu's package could be installed (as root)."""
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    quiet = {
        "stdout": subprocess.DEVNULL,
        "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
    }
    subprocess.run(["apt-get", "update", "-q"], **quiet)
    command = ["apt-get", "install", "-qy", "--no-install-recommends", "chromium"]
    done = subprocess.run(command, **quiet).returncode == 0
    return done and any(map(shutil.which, PROGRAMS))


def main():
    if os.environ.get("CLINICAL_NER_CHROMIUM") or any(map(shutil.which, PROGRAMS)):
        return
    if has_own() or install_by_apt():
        return
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    if subprocess.run(command).returncode:
        sys.exit(
            "no Chromium for the browser tests: install one (apt install chromium), or name one"
            " in CLINICAL_NER_CHROMIUM"
        )


if __name__ == "__main__":
    main()
