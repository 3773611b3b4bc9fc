"""The command `gallery`: make a site of all bundles in a folder, which needs no server.

index.html lists them by date, by version and by machine, with the history of each case; every
bundle has its page and its summary.json. Bundles without a summary.json are named and left out.

For example:
  python run_all.py gallery results --output site
"""

import re
from pathlib import Path

from rich.console import Console

from benchmarks import exit_codes
from benchmarks.bundle import files
from benchmarks.bundle.folders import check_folder, create_folder
from benchmarks.commands import options, report
from benchmarks.errors import UsageError
from benchmarks.reports import summary
from benchmarks.reports.between_runs import gallery
from benchmarks.reports.summary import Summary
from benchmarks.terminal import results


def parser() -> options.Parser:
    """The command line of `gallery`."""
    parser = options.Parser("gallery", __doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a folder with bundles")
    parser.add_argument("--output", type=Path, metavar="FOLDER", required=True,
        help="write the site there, into a new folder")  # fmt: skip
    return parser


def main(argv: list[str], console: Console) -> int:
    """Make a site of bundles."""
    arguments = parser().read(argv)
    check_folder(arguments.output)
    if missing := report.missing_packages():
        raise UsageError(f"gallery: needs what is not installed: {', '.join(missing)}")
    # Not above: what it needs may be missing.
    from benchmarks.reports import page
    from benchmarks.reports.figures import between_runs, marks

    found = _read(arguments.folder, console)
    if not found:
        raise UsageError(f"{arguments.folder}: holds no bundle with a {summary.FILE}")
    site = create_folder(arguments.output, arguments.output.parent, arguments.output.name)
    try:
        for name, read in list(found.items()):
            try:
                shown = page.html(read)
            except UsageError as error:
                results.show_line(console, f"left out: {name}: {error}")
                del found[name]
                continue
            (site / name).mkdir()
            files.write_text(site / name, report.PAGE, shown)
            summary.write(read, site / name)
        pages = {name: f"{name}/{report.PAGE}" for name in found}
        first, histories = gallery.document(found, pages)
        drawn = {
            name: marks.specification(between_runs.history(rows, rows["run"].unique()))
            for name, rows in histories.items()
            if name in first.figures
        }
        files.write_text(site, "index.html", page.page(first, drawn))
    except OSError as error:
        raise UsageError(f"{site}: cannot be written ({error.strerror})") from None
    results.show_line(console, f"{len(found)} bundles: {site / 'index.html'}")
    return exit_codes.OK


def _read(folder: Path, console: Console) -> dict[str, Summary]:
    """The summaries of all bundles in a folder, by names that are safe in an address."""
    found: dict[str, Summary] = {}
    for path in sorted(folder.rglob("environment.json")):
        place = path.parent
        if place.is_symlink():
            continue
        name = re.sub(r"[^A-Za-z0-9.-]+", "-", place.relative_to(folder).as_posix()).strip("-.")
        name = name or "bundle"
        while name in found:
            name += "-again"
        try:
            found[name] = summary.read(place)
        except UsageError as error:
            results.show_line(console, f"left out: {error}")
    return found
