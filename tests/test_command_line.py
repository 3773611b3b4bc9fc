"""The command line: commands, options, exit codes and refusals. Nothing is measured here."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import run_all
from backends.registry import BACKENDS
from benchmarks import commands, exit_codes
from benchmarks.commands import certify, measure, sweep
from benchmarks.machine import probe, project
from benchmarks.machine.settings import ROOT

REFERENCE = ROOT / "results" / "reference" / "epyc-2-cores"


def main(*argv: str) -> int:
    """The exit code, however the program ends."""
    try:
        return run_all.main(list(argv))
    except SystemExit as ended:
        return int(ended.code or 0)


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line with which a command line is refused."""
    assert main(*argv) == exit_codes.REFUSED
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    return printed.err.strip()


# Options


@pytest.mark.parametrize("command", [[], *([name] for name in commands.COMMANDS)], ids=str)
def test_unknown_options_are_refused_by_every_command(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "unknown option --unheard-of" in refusal(capsys, *command, "--unheard-of", "1")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--step", "100"], "unknown option --step; did you mean --steps?"),
        (["--step=100"], "unknown option --step; did you mean --steps?"),
        (["--l", "1"], "did you mean --learning-rate or --launches or --list?"),
        (["--lanches", "1"], "unknown option --lanches; did you mean --launches?"),
        (["--resume", "x"], "unknown option --resume; see --help"),
        (["–steps", "1"], "unknown option –steps; did you mean --steps?"),
        (["--epoch", "1"], "unknown option --epoch; did you mean --steps?"),
        (["--modes", "inductr"], "did you mean compiled?"),
        (["--backends", "kears"], "did you mean tensorflow?"),
        (["--device", "cuda:0"], "did you mean gpu?"),
        (["--learning-rate", "0,001"], "0,001 is not a positive number; write 0.001"),
        (["--batch-size", "1,2"], "1,2 is not a positive whole number"),
        (["--python", "jax="], "jax= names no program; write jax=PROGRAM"),
        (["sweep", "--batch-size", "8", "--width", "8"], "did you mean --widths?"),
        (["certify", "--backend", "jax"], "unknown option --backend; did you mean --backends?"),
        (["certify", "jax", "--step", "5"], "unknown option --step; see --help"),
        (["report", "x", "--out", "y"], "did you mean --output?"),
        (["compare", "x", "y", "--base", "z"], "did you mean --baseline?"),
        (["list", "--dev", "gpu"], "unknown option --dev; did you mean --device?"),
    ],
)
def test_abbreviated_options_are_refused(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, *argv).endswith(line)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--steps", "many"], "argument --steps: many is not a positive whole number"),
        (["--steps", "1.5"], "argument --steps: 1.5 is not a positive whole number"),
        (["--learning-rate", "nan"], "nan is not a positive number"),
        (["--time-limit", "inf"], "inf is more than 1e+100, the largest number here"),
        (["--seed", "-1"], "-1 is not a whole number of 0 or more"),
        (["--steps", "512.0"], "512.0 is not a positive whole number; write 512"),
        (["--steps", "1e3"], "1e3 is not a positive whole number; write 1000"),
        (
            ["--steps", "99999999999"],
            "99999999999 is more than 2,147,483,647, the largest number here",
        ),
        (
            ["--steps", "9" * 5000],
            f"{'9' * 40}… is more than 2,147,483,647, the largest number here",
        ),
        (["--seed", ""], "nothing is not a whole number of 0 or more"),
        (["--hidden", "512x512"], "512x512 is not a positive whole number"),
        (["--hidden", "512,0"], "0 is not a positive whole number"),
        (["--hidden", ","], "expected a value, not ','"),
    ],
)
def test_numbers_out_of_range_are_refused(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, *argv).endswith(line)


def test_valid_numbers_keep_their_type_and_value() -> None:
    arguments = measure.parser().read(
        ["--steps", "5", "--seed", "0", "--learning-rate", "1e-3", "--hidden"]
    )
    assert (arguments.steps, arguments.seed, arguments.learning_rate) == (5, 0, 1e-3)
    assert isinstance(arguments.steps, int)
    assert arguments.hidden == []
    # As Python itself reads numbers.
    assert measure.parser().read(["--steps", "1_000", "--threads", "１"]).steps == 1000


@pytest.mark.parametrize(
    ("option", "wrong", "meant"),
    [
        ("--backends", "torch", "pytorch"),
        ("--backends", "PyTorch", "pytorch"),
        ("--backends", "tf", "tensorflow"),
        ("--backends", "keras", "tensorflow"),
        ("--backends", "flax", "jax"),
        ("--backends", "np", "numpy"),
        ("--backends", "tensorlfow", "tensorflow"),
        ("--backends", "jax,torch", "pytorch"),
        ("--modes", "jit", "compiled"),
        ("--modes", "Eager", "eager"),
        ("--input", "stream", "streamed"),
        ("--precision", "fp32", "float32"),
        ("--precision", "bf16", "bfloat16"),
        ("--precision", "double", "float64"),
        ("--preset", "fast", "quick"),
        ("--keras-adam", "keras", "stock"),
        ("--device", "nvidia", "gpu"),
    ],
)
def test_a_wrong_word_is_told_the_right_one(
    option: str, wrong: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, option, wrong)
    assert f"{wrong.split(',')[-1]} is not one of " in line
    assert line.endswith(f"; did you mean {meant}?")


def test_a_word_that_is_like_no_other_gets_no_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "--backends", "theano").endswith(
        "theano is not one of pytorch, tensorflow, jax, numpy"
    )


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--python", "torch=python"], "did you mean pytorch=python?"),
        (["-steps", "5"], "unknown option -steps; did you mean --steps?"),
        (["--lr", "5"], "unknown option --lr; did you mean --learning-rate?"),
        (["--gpu"], "unknown option --gpu; did you mean --device?"),
        (["-t", "5"], "unknown option -t; did you mean --threads or --time-limit?"),
        (["--"], "unknown option --; see --help"),
        (["—steps", "5"], "unknown option —steps; did you mean --steps?"),
        (["--steps", "5", "jax"], "jax: belongs to no option; to name backends: --backends jax"),
        (["--steps", "5", "7"], "7: belongs to no option; see --help"),
    ],
)
def test_slips_of_the_pen_are_told_what_was_meant(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, "measure", *argv).endswith(line)


def test_lists_take_commas_and_blanks_and_names_count_once() -> None:
    read = measure.parser().read
    for argv in (["jax,pytorch"], ["jax", "pytorch"], ["jax, pytorch,"], ["jax", "jax,pytorch"]):
        assert read(["--backends", *argv]).backends == ["jax", "pytorch"]
    assert read(["--backends", "jax", "--backends", "pytorch"]).backends == ["jax", "pytorch"]
    assert read(["--modes", "eager,scan", "--input", "resident,streamed"]).modes == [
        "eager",
        "scan",
    ]
    # Layers of equal size are not one layer.
    for argv in (["512,512"], ["512", "512"], ["512,", "512"]):
        assert read(["--hidden", *argv]).hidden == [512, 512]
    assert read(["--hidden", "8", "--hidden", "16"]).hidden == [16]
    assert certify.parser().read(["jax,pytorch"]).backends == ["jax", "pytorch"]
    sizes = sweep.parser().read(["--batch-sizes", "32,64", "--widths", "8", "16"])
    assert (getattr(sizes, "batch size"), sizes.width) == ([32, 64], [8, 16])


def test_no_refusal_names_a_function_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    """argparse names the type of a value where that raises an error which it does not expect."""
    for name in commands.COMMANDS:
        parser = importlib.import_module(f"benchmarks.commands.{name}").parser()
        for action in parser._actions:
            for value in ("?", "", "-1", "9" * 5000, "1e9999", "nan", "٣,", "a=b"):
                try:
                    parser.read([f"{action.option_strings[-1]}={value}"])
                except (SystemExit, IndexError):
                    continue
    errors = capsys.readouterr().err
    assert "is not a positive whole number" in errors
    assert "invalid " not in errors


# Commands and help


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--version") == 0
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert capsys.readouterr().out.strip() == f"run_all.py {stated}"


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_help_of_a_command_shows_its_options_and_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("help", name) == 0
    text = capsys.readouterr().out
    assert main(name, "--help") == 0
    assert capsys.readouterr().out == text
    assert commands.COMMANDS[name] in " ".join(text.split()).lower()
    codes = dict(re.findall(r"^  (\d+) +(.+)$", text[text.index("exit codes:") :], re.MULTILINE))
    assert codes == {str(code): meaning for code, meaning in exit_codes.MEANINGS.items()}


@pytest.mark.parametrize("argv", [["help"], ["--help"], ["-h"], ["measure", "--help"]], ids=str)
def test_help_names_every_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(*argv) == 0
    text = capsys.readouterr().out
    for name, about in commands.COMMANDS.items():
        assert re.search(rf"run_all\.py {name} +{about}", text)


def test_the_page_has_the_same_exit_codes() -> None:
    page = (ROOT / "docs" / "running.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(str(code), meaning) for code, meaning in exit_codes.MEANINGS.items()]


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["certfy"], "unknown command certfy; did you mean certify? The commands are measure, "),
        (["help", "reprot"], "unknown command reprot; did you mean report? "),
        (["jax"], "to measure this backend: --backends jax. "),
        (["torch"], "to measure this backend: --backends pytorch. "),
        (["Keras"], "to measure this backend: --backends tensorflow. "),
        (["run"], "unknown command run; did you mean measure? "),
        (["warp"], "unknown command warp. The commands are "),
    ],
)
def test_an_unknown_command_is_refused_with_the_known_ones(
    argv: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = refusal(capsys, *argv)
    assert line in printed
    assert all(name in printed for name in (*commands.COMMANDS, "help"))


def test_backends_may_be_named_without_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    read = certify.parser().read
    assert read(["jax", "pytorch"]) == read(["--backends", "jax", "pytorch"])
    assert read(["jax", "--modes", "eager"]) == read(["--backends", "jax", "--modes", "eager"])
    assert read([]).backends is None
    assert "theano is not one of pytorch, " in refusal(capsys, "certify", "theano")
    assert "theano is not one of pytorch, " in refusal(capsys, "list", "theano")


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], str, dict[str, str]]]:
    """The arguments of each call to `probe_all`, which here finds that nothing is installed."""
    calls: list[tuple[list[str], str, dict[str, str]]] = []

    def probe_all(names: list[str], device: str, pythons: dict[str, str]) -> dict[str, probe.Probe]:
        calls.append((names, device, pythons))
        return {name: probe.Probe(versions={}, problem="not here") for name in names}

    monkeypatch.setattr(probe, "probe_all", probe_all)
    return calls


def test_list_as_a_command_and_as_an_option_print_the_same(
    probed: list[tuple[list[str], str, dict[str, str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for argv in (["--list"], ["list"], ["list", "jax"], ["--list", "--backends", "jax"]):
        assert main(*argv) == 0
        printed.append(capsys.readouterr().out)
    assert probed == [(list(BACKENDS), "cpu", {})] * 2 + [(["jax"], "cpu", {})] * 2
    assert printed[0] == printed[1] != printed[2] == printed[3]


# Bundles


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder with two bundles, the second the newer one, and a third in a folder within."""
    for age, name in enumerate(("within/third", "second", "first")):
        folder = tmp_path / "shelf" / name
        folder.mkdir(parents=True)
        path = shutil.copy(REFERENCE / "environment.json", folder)
        os.utime(path, (1e9 - age, 1e9 - age))
    return tmp_path / "shelf"


def test_report_of_a_folder_of_bundles_names_them(
    shelf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, "report", str(shelf))
    assert f"{shelf} is not a bundle" in line
    assert f"{shelf}/within/third, {shelf}/second, {shelf}/first;" in line
    assert line.endswith(f"python run_all.py report {shelf}/within/third")


def test_compare_with_a_folder_of_bundles_names_them(
    shelf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, "compare", str(REFERENCE), str(shelf))
    assert line.endswith(f"python run_all.py compare {shelf}/second {shelf}/within/third")
    shutil.rmtree(shelf / "within")
    shutil.rmtree(shelf / "first")
    line = refusal(capsys, "compare", str(shelf), str(REFERENCE))
    assert line.endswith(f"python run_all.py compare {shelf}/second AFTER")


def test_a_folder_of_many_bundles_names_the_newest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(9):
        (tmp_path / f"run{number}").mkdir()
        (tmp_path / f"run{number}" / "environment.json").touch()
        os.utime(tmp_path / f"run{number}" / "environment.json", (number, number))
    line = refusal(capsys, "report", str(tmp_path))
    assert f"{tmp_path}/run8, {tmp_path}/run7," in line
    assert "run4 and 4 more; " in line
    assert "run3" not in line


@pytest.mark.parametrize("name", ["nowhere", "empty", "file"])
def test_what_is_no_bundle_is_refused_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    path = str(tmp_path / name)
    for argv in (["report", path], ["compare", str(REFERENCE), path]):
        assert f"is {path} a bundle" in refusal(capsys, *argv)


# Supported systems and devices


@pytest.mark.parametrize(
    ("device", "line"),
    [
        ("cuda", "cuda: use --device gpu"),
        ("mps", "mps: Apple GPUs are not supported; use --device cpu"),
        ("rocm", "rocm: AMD GPUs are not supported; use --device cpu"),
        ("tpu", "tpu: TPUs are not supported; use --device cpu"),
        ("abacus", "argument --device: abacus is not one of cpu, gpu"),
    ],
)
@pytest.mark.parametrize("command", ["measure", "certify", "sweep", "list"])
def test_unsupported_devices_are_refused_by_name(
    command: str, device: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, command, "--device", device).endswith(line)


def test_supported_devices_are_accepted_and_the_others_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert [project.device_problem(device) for device in ("cpu", "gpu")] == ["", ""]
    assert all(map(project.device_problem, project.UNSUPPORTED_DEVICES))


@pytest.mark.parametrize("argv", [[], ["--help"], ["report", str(REFERENCE)]], ids=str)
def test_windows_is_refused(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    line = refusal(capsys, *argv)
    assert line.startswith("run_all.py: Windows is not supported; ")
    assert "(WSL)" in line


def test_macos_computes_on_the_cpu_and_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    project.check_system()
    assert "cannot be bound to CPUs" in project.LIMITATIONS["darwin"]
    assert "Apple GPUs are not supported" in refusal(capsys, "--device", "gpu")


def test_linux_lacks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    project.check_system()
    assert "linux" not in project.LIMITATIONS


# Errors


def test_an_error_of_the_program_has_an_exit_code_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Code 1 would tell a CI gate that a case became slower."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("by design")

    monkeypatch.setattr("benchmarks.commands.report.read_bundle", fail)
    assert main("compare", str(REFERENCE), str(tmp_path)) == exit_codes.STOPPED
    assert "ZeroDivisionError: by design" in capsys.readouterr().err


def test_an_interrupt_has_an_exit_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "pick", fail)
    assert main() == exit_codes.INTERRUPTED


# Dependencies

PROGRAM = """
import sys
import run_all
try:
    run_all.main(sys.argv[1:])
except SystemExit:
    pass
print("imported:", *sorted(sys.modules), file=sys.stderr)
"""


def imported_by(*argv: str) -> set[str]:
    """The modules that a process has imported once a command is done."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *argv], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stderr.partition("imported:")[2].split())


@pytest.mark.parametrize("argv", [["--help"], ["list", "--help"]], ids=str)
def test_help_imports_little(argv: list[str]) -> None:
    modules = imported_by(*argv)
    assert "benchmarks.commands.options" in modules
    assert not modules & {"pandas", "scipy", "matplotlib", "benchmarks.session.session"}


def test_commands_that_read_bundles_do_not_import_those_that_measure() -> None:
    modules = imported_by("report", str(ROOT / "nowhere"))
    assert "benchmarks.commands.report" in modules
    measuring = {"benchmarks.session.session", "benchmarks.commands.running", "psutil", "cpuinfo"}
    assert not modules & measuring


def extras() -> dict[str, list[str]]:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"": content["dependencies"], **content["optional-dependencies"]}


def packages(extra: str) -> set[str]:
    """The names of the packages that an extra brings, those of extras within it included."""
    names: set[str] = set()
    for requirement in extras()[extra]:
        name, _, within = re.split(r"[;=<>]", requirement)[0].strip().partition("[")
        if name == "one-network-three-frameworks":
            names = names.union(*(packages(part) for part in within.rstrip("]").split(",")))
        else:
            names.add(name)
    return names


def test_a_framework_is_an_extra_and_not_in_the_plain_install() -> None:
    frameworks = {
        name: set(BACKENDS[name].packages) for name in ("pytorch", "tensorflow", "jax", "numpy")
    }
    assert not packages("") & (set().union(*frameworks.values()) - frameworks["numpy"])
    assert frameworks.pop("numpy") <= packages("")
    for name, needed in frameworks.items():
        assert needed <= packages(name)
        assert not packages(name) & set().union(*(frameworks[n] for n in frameworks if n != name))
        assert needed <= packages("all")
    assert packages("all") <= packages("test")
    assert frameworks["pytorch"] | frameworks["jax"] | {"nvidia-ml-py"} <= packages("gpu")
    assert "tensorflow" not in packages("gpu")
    assert "pytest-benchmark[histogram]" in extras()["test"]


def test_every_dependency_has_its_version_in_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower() for line in lines if "==" in line}
    assert pinned
    for extra in extras():
        assert {name.lower() for name in packages(extra)} <= pinned
    # What pytest-benchmark draws histograms with.
    assert {"pygal", "pygaljs"} <= pinned


@pytest.mark.parametrize("name", ["pytorch", "tensorflow", "jax"])
def test_a_missing_framework_says_which_extra_brings_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name in extras()
    advice = f"; pip install -c constraints.txt '.[{name}]'"
    assert project.install_advice(name, sys.executable) == advice
    # Another Python may need another build of the framework.
    assert project.install_advice(name, "/another/python") == ""
    answer = subprocess.CompletedProcess[str]([], 0, f'{probe.MARK}{{"missing": ["x", "y"]}}', "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert probe.probe(probe.Program(name), "cpu").problem == f"not installed: x, y{advice}"


def test_a_backend_without_an_extra_has_no_such_advice() -> None:
    assert project.install_advice("numpy", sys.executable) == ""


# Results


def test_git_ignores_the_runs_of_users_alone() -> None:
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    paths = ["results/2026-01-01-1200-default-cpu/report.md", "results/new.csv", "build/lib/x.py"]
    kept = ["results/README.md", "results/reference/new/report.md", "results/validation/new.csv"]
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", *paths, *kept],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split() == paths
