"""The command `export`: write a run's results in the format of another program.

For example:
  python run_all.py export results/reference/xeon-2-cores --to bmf
  python run_all.py export results/mine --to github-action-benchmark --output times.json
  python run_all.py export results/mine --to parquet --output tables

  json                     summary.json, which benchmarks/schema/summary.schema.json describes
  parquet                  each of its tables as a file, into the folder --output
  png                      each figure of the report as an image, into the folder --output
  bmf                      Bencher Metric Format: the time of a step and its interval
  github-action-benchmark  the list that it reads as customSmallerIsBetter
"""

import sys
from pathlib import Path

from rich.console import Console

from benchmarks import exit_codes
from benchmarks.bundle import files
from benchmarks.bundle.folders import check_folder, check_report, create_folder
from benchmarks.commands import options
from benchmarks.errors import UsageError
from benchmarks.reports import exports, summary
from benchmarks.terminal import results


def parser() -> options.Parser:
    """The command line of `export`."""
    parser = options.Parser("export", __doc__)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle with its report")
    formats = [*exports.TEXTS, *exports.FOLDERS]
    parser.add_argument("--to", required=True, type=options.word(formats), choices=formats,
        help="the format")  # fmt: skip
    where = "the file to write, or for parquet and png the folder; default: standard output"
    parser.add_argument("--output", type=Path, metavar="PATH", help=where)
    return parser


def main(argv: list[str], console: Console) -> int:
    """Write the results of a bundle in another format."""
    arguments = parser().read(argv)
    output: Path | None = arguments.output
    write = exports.FOLDERS.get(arguments.to)
    if write and output is None:
        raise UsageError(f"--to {arguments.to}: name the folder for its files: --output FOLDER")
    read = summary.read(arguments.bundle)
    try:
        if write:
            check_folder(output)
            folder = create_folder(output, Path(), "")
            results.show_line(console, f"{len(write(read, folder))} files: {folder}")
            return exit_codes.OK
        check_report(output)
        text = exports.TEXTS[arguments.to](read) + "\n"
        if output is None:
            sys.stdout.write(text)
        else:
            files.write_text(output.parent, output.name, text)
            results.show_line(console, f"written: {output}")
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be written ({error.strerror})") from None
    return exit_codes.OK
