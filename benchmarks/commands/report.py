"""The command `report`: write what is computed from the rows of one or more bundles.

One bundle: writes the reports, the figures and the computed tables again, from the rows that were
measured. Use it after a run that was killed, or with a newer version of this program.

Parts of one run (made with --part, as by --on): merged into one bundle, whose intervals cover how
nodes differ as well.

Several bundles: writes one report with the cases of all of them side by side, each with its ratio
to the fastest of its own bundle, and what the environments differ in. Nothing is ranked across
bundles.

No framework is needed. report.html needs no network and no other file.

For example:
  python run_all.py report results/reference/epyc-2-cores
  python run_all.py report results/laptop results/server --output results/machines
"""

import os
import shlex
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import exit_codes
from benchmarks.analysis.between_runs import parts
from benchmarks.analysis.findings import Findings, compute_findings
from benchmarks.analysis.findings import write as write_tables
from benchmarks.bundle import files
from benchmarks.bundle.folders import check_folder, create_folder
from benchmarks.bundle.reader import Bundle, read_environment
from benchmarks.commands import options
from benchmarks.errors import StoppedError, UsageError
from benchmarks.reports import summary as summaries
from benchmarks.reports.between_runs import several
from benchmarks.reports.sections import image
from benchmarks.reports.summary import Summary, summarise
from benchmarks.terminal import results
from benchmarks.texts import harmless

DRAWN_BY = ("altair", "vl_convert", "jinja2", "markdown_it")
"""The packages that figures and report.html need; without them everything else is written."""
PAGE = "report.html"
NAMED_BUNDLES = 5
"""The number of bundles in a folder that an error names."""


def parser() -> options.Parser:
    """The command line of `report`."""
    parser = options.Parser("report", __doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="a bundle")
    parser.add_argument("--output", type=Path, metavar="FOLDER",
        help="write there, into a new folder; default: into the bundle itself if there is only "
        "one")  # fmt: skip
    return parser


def read_bundle(command: str, folder: Path) -> Bundle:
    """Read a bundle; raises UsageError, which for a folder of bundles names those in it."""
    if os.access(folder, os.R_OK) and not os.path.lexists(folder / "environment.json"):
        paths = [*folder.glob("*/environment.json"), *folder.glob("*/*/environment.json")]
        paths.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        if bundles := [str(path.parent) for path in paths]:
            more = len(bundles) - NAMED_BUNDLES
            # The newest; for `compare` the two newest, in the order of their age.
            example = bundles[:1] if command == "report" else [*bundles[1::-1], "AFTER"][:2]
            raise UsageError(
                f"{folder} is not a bundle, since it has no environment.json; it holds bundles: "
                f"{', '.join(bundles[:NAMED_BUNDLES])}{f' and {more} more' if more > 0 else ''}; "
                f"use for example: python run_all.py {command} {' '.join(example)}"
            )
    return Bundle.read(folder)


def bundle_names(folders: list[Path]) -> list[str]:
    """What reports call the bundles: the folders' own names, or paths where two names are equal."""
    names = [harmless(Path(os.path.realpath(folder)).name) for folder in folders]
    paths = [harmless(str(folder)) for folder in folders]
    return names if len(set(names)) == len(names) else paths


def missing_packages() -> list[str]:
    """The packages that figures and report.html need and that are not installed."""
    return [name for name in DRAWN_BY if find_spec(name) is None]


def write_reports(
    folder: Path, output: Path | None = None, *, page: bool = True
) -> tuple[Bundle, Findings]:
    """Write the tables and the reports that are computed from a bundle's rows.

    Raises OSError where they cannot be written.
    """
    bundle = read_bundle("report", folder)
    findings = compute_findings(bundle)
    target = _made(output) if output else folder
    _write(summarise(bundle, findings), findings, target, page=page)
    return bundle, findings


def _write(summary: Summary, findings: Findings, folder: Path, *, page: bool = True) -> None:
    """Write the tables, summary.json, the markdown report and its figures, or none; then the page.

    That is apart from the rest, since a disk may have room for the rest alone.
    """
    drawn: dict[str, Any] = {}
    if can_draw := not missing_packages():
        # Not above: these packages may be missing, and take time to import.
        from benchmarks.reports.figures import charts, marks

        drawn = charts.drawn(summary.report.figures, summary.tables)
    with files.all_or_none(folder) as unfinished:
        write_tables(findings, unfinished)
        summaries.write(summary, unfinished)
        files.write_text(unfinished, "report.md", summary.report.markdown(drawn=can_draw))
        for name, figure in drawn.items():
            files.write_bytes(unfinished, image(name), marks.image(figure))
    if page and can_draw:
        _write_page(summary, drawn, folder)


def _write_page(summary: Summary, drawn: dict[str, Any], folder: Path) -> None:
    from benchmarks.reports import page

    try:
        files.write_text(folder, PAGE, page.html(summary, drawn))
    except OSError as error:
        # One from before would not agree with the rest.
        with suppress(OSError):
            (folder / PAGE).unlink()
        raise OSError(error.errno, error.strerror, PAGE) from None


def unwritten(folder: Path, error: OSError) -> str:
    """Which part of a report cannot be written, and why."""
    part = f"page {PAGE}" if error.filename == PAGE else "report"
    return f"{folder}: its {part} cannot be written ({error.strerror})"


def report_run(folder: Path, console: Console) -> None:
    """Write and show the report of a run that has ended.

    Raises StoppedError where it can only be shown, and KeyboardInterrupt where it is given up.
    """
    command = f"python run_all.py report {shlex.quote(str(folder))}"
    kept = "everything measured is kept; report it with"
    try:
        bundle = read_bundle("report", folder)
        findings = compute_findings(bundle)
        problem = ""
        try:
            _write(summarise(bundle, findings), findings, folder)
        except OSError as error:
            problem = unwritten(folder, error)
        results.show_findings(console, bundle, findings)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {kept}: {command}") from None
    if problem:
        raise StoppedError(f"{problem}; {kept}: {command} --output FOLDER")
    _announce(folder, console)


def _report_one(folder: Path, output: Path | None, console: Console) -> Findings:
    """Write what is computed from a bundle's rows, by default into it, and show it."""
    bundle, findings = write_reports(folder, output)
    results.show_findings(console, bundle, findings)
    _announce(output or folder, console)
    return findings


def _report_several(folders: list[Path], output: Path, console: Console) -> None:
    """Write one report of several bundles."""
    bundles = [read_bundle("report", folder) for folder in folders]
    results = [(bundle, compute_findings(bundle)) for bundle in bundles]
    named = dict(zip(bundle_names(folders), results, strict=True))
    report, drawn = several.document(named), not missing_packages()
    with files.all_or_none(_made(output)) as unfinished:
        files.write_text(unfinished, "report.md", report.markdown(drawn=drawn))
        if drawn:
            from benchmarks.reports import page
            from benchmarks.reports.figures import between_runs, marks

            figure = marks.specification(between_runs.bundles(several.cases(named)))
            files.write_bytes(unfinished, image("bundles"), marks.image(figure))
            files.write_text(unfinished, PAGE, page.page(report, {"bundles": figure}))
    _announce(output, console)


def merge(folders: list[Path], output: Path, console: Console) -> Findings:
    """Merge the parts of a run into one bundle, and report that.

    Raises UsageError where they cannot be merged, and leaves nothing then.
    """
    found, folder = parts.read_parts(folders), _made(output).resolve()
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    files.remove(unfinished)
    try:
        unfinished.mkdir()
        pseudonyms = parts.merge(found, unfinished)
        unfinished.replace(folder)
    finally:
        files.remove(unfinished)
    if pseudonyms:
        # Beside the bundle, which names nobody's machine.
        rows = ["name,node", *(f"{name},{node}" for node, name in pseudonyms.items()), ""]
        files.write_text(folder.parent, f"{folder.name}-nodes.csv", "\n".join(rows))
    return _report_one(folder, None, console)


def _are_parts(folders: list[Path]) -> bool:
    """Whether any of these folders has a part of a run."""
    try:
        return any(read_environment(folder).run.part is not None for folder in folders)
    except UsageError:
        return False


def _made(output: Path) -> Path:
    """The folder of `--output`, made if it is missing."""
    return create_folder(output, output.parent, output.name)


def _announce(folder: Path, console: Console) -> None:
    """Print where the report is, and where its page is or why there is none."""
    page = f"report: {folder / PAGE}"
    if missing := missing_packages():
        page = f"no figures and no {PAGE}: they need what is not installed: {', '.join(missing)}"
    for line in (f"report: {folder / 'report.md'}", page):
        results.show_line(console, line)


def main(argv: list[str], console: Console) -> int:
    """Rewrite the report of a bundle, or write one report of several bundles."""
    arguments = parser().read(argv)
    folders: list[Path] = arguments.folders
    output: Path | None = arguments.output
    check_folder(output)
    if len(set(map(os.path.realpath, folders))) < len(folders):
        raise UsageError("report: name each bundle once")
    if len(folders) > 1 and not output:
        problem = "a report of several bundles goes to a folder of its own: --output"
        raise UsageError(f"report: {problem}")
    try:
        if output and len(folders) > 1 and _are_parts(folders):
            merge(folders, output, console)
        elif output and len(folders) > 1:
            _report_several(folders, output, console)
        else:
            _report_one(folders[0], output, console)
    except OSError as error:
        advice = "" if output else "; use --output FOLDER"
        raise UsageError(f"{unwritten(output or folders[0], error)}{advice}") from None
    return exit_codes.OK
