"""Checks the bundles that a pull request changes: every changed file must be one of a bundle's.

The first argument is a file with the names of what has changed, each ended by a zero byte.
"""

import subprocess
import sys
from pathlib import Path

RESULTS = Path("results")
FREE = (RESULTS / "README.md", RESULTS / "validation")
"""What is no bundle."""


def bundle_of(path: Path) -> Path | None:
    """The nearest folder above a file that is a bundle; None where there is none."""
    within = [folder for folder in path.parents if folder.is_relative_to(RESULTS)]
    return next((one for one in within if (one / "environment.json").is_file()), None)


def main(changed: Path) -> int:
    """Check each bundle once; returns 1 where one may not be added, or a file is of none."""
    names = [name for name in changed.read_bytes().decode("utf-8", "replace").split("\0") if name]
    paths = [path for path in map(Path, names) if path.is_relative_to(RESULTS)]
    paths = [path for path in paths if not any(path.is_relative_to(free) for free in FREE)]
    code, folders = 0, {}
    for path in paths:
        folders.setdefault(bundle_of(path), path)
    for folder, path in folders.items():
        if folder is None:
            print(f"{str(path)!r} is in no bundle: remove it")
            code = 1
        else:
            done = subprocess.run([sys.executable, "run_all.py", "check", str(folder)], check=False)
            code = code or done.returncode
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
