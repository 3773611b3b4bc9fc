"""The looks of cases in figures: told apart without colour, readable, and enough for any name."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from backends.registry import BACKENDS
from benchmarks.analysis.findings import compute_findings
from benchmarks.analysis.limits import BOUNDS
from benchmarks.bundle.reader import Bundle
from benchmarks.reports import page, summary
from benchmarks.reports.figures import charts, looks, marks
from benchmarks.reports.run import document as run
from tests.synthetic_bundles import write_bundle

UNKNOWN_MODES = ("traced", "lazy", "vectorised")


def luminance(colour: str) -> float:
    """The relative luminance of a colour, by WCAG 2."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return sum(c * weight for c, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(colour: str, paper: str) -> float:
    darker, lighter = sorted(map(luminance, (colour, paper)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("backend", BACKENDS)
def test_cases_can_be_told_apart_without_colour(backend: str) -> None:
    """Modes differ by marker and line, inputs and forms of Adam by how a marker is filled."""
    modes = list(BACKENDS[backend].modes)
    cases = [f"{backend} {mode}" for mode in modes]
    cases += [f"{case} streamed" for case in cases] + [f"{case} stock-adam" for case in cases]
    drawn = [looks.look(case) for case in cases]
    kinds = {(look.marker, str(look.line), look.fill) for look in drawn}
    assert len(kinds) == len(cases)
    assert len({look.colour for look in drawn}) == 1
    # Those of the default run by either.
    standing = {looks.look(f"{backend} {mode}").marker
        for mode in modes if BACKENDS[backend].modes[mode].stands}  # fmt: skip
    assert len(standing) == sum(mode.stands for mode in BACKENDS[backend].modes.values())


def test_what_stands_for_the_frameworks_differs_without_colour() -> None:
    drawn = [
        looks.look(f"{name} {mode}")
        for name, backend in BACKENDS.items()
        for mode, about in backend.modes.items()
        if about.stands
    ]
    assert len({(look.marker, str(look.line)) for look in drawn}) == len(drawn) >= 9


def test_further_modes_and_backends_have_looks_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twenty modes differ by line and marker together, twelve backends by colour."""
    modes = tuple(f"mode-{number}" for number in range(20))
    monkeypatch.setattr(looks, "modes_of", lambda _: list(modes))
    drawn = [looks.look(f"jax {mode}") for mode in modes]
    assert len({(str(look.line), look.marker) for look in drawn}) == len(modes)
    colours = {light for light, _ in looks.COLOURS.values()} | set(looks.SPARE_COLOURS)
    assert len(colours) == 12


def test_every_look_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vega leaves out what it does not know: each marker gives a path of its own."""
    modes = tuple(f"mode-{number}" for number in range(12))
    monkeypatch.setattr(looks, "modes_of", lambda _: list(modes))
    cases = [f"jax {mode}" for mode in modes]
    totals = pd.DataFrame([
        {"case": case, "steps": steps, "total_seconds": 1.0 + number + steps / 100}
        for number, case in enumerate(cases)
        for steps in (1, 10, 100, 1000, 10000, 100000)
    ])  # fmt: skip
    svg = marks.image(marks.specification(charts.total_time({"totals": totals}))).decode()
    legend = svg.partition("mark-group role-legend")[2]
    assert len(set(re.findall(r'<path transform="[^"]*" d="([^"]+)"', legend))) == len(modes)


def test_every_part_of_a_step_has_a_look() -> None:
    assert list(looks.PARTS) == list(BOUNDS)
    assert list(looks.STARTS) == ["import", "build", "first call"]


def test_names_that_are_not_registered_always_have_the_same_look() -> None:
    for backend, mode in product(("mxnet", "theano", "tinygrad"), UNKNOWN_MODES):
        look = looks.look(f"{backend} {mode} streamed")
        assert look == looks.look(f"{backend} {mode} streamed")
        assert look.colour in looks.SPARE_COLOURS
        assert look.fill == looks.PAPER


def test_a_registered_backend_keeps_its_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: looks.colours(name) for name in looks.COLOURS}
    assert before == looks.COLOURS
    for number in range(20):
        monkeypatch.setitem(BACKENDS, f"further {number}", BACKENDS["numpy"])
    assert {name: looks.colours(name) for name in before} == before
    assert looks.colours("further 0")[0] in looks.SPARE_COLOURS
    assert looks.colours("further 19")[0] in looks.SPARE_COLOURS


def test_colours_stand_out_from_both_pages() -> None:
    """WCAG 2 asks for 3 to 1 of graphics."""
    dark_paper = looks.DARK[looks.PAPER]
    pairs = {**looks.COLOURS, **{colour: (colour, colour) for colour in looks.SPARE_COLOURS}}
    assert all(contrast(light, looks.PAPER) >= 3 for light, _ in pairs.values())
    assert all(contrast(dark, dark_paper) >= 3 for _, dark in pairs.values())
    for colour in (*looks.PARTS.values(), *looks.STARTS.values()):
        assert min(contrast(colour, looks.PAPER), contrast(colour, dark_paper)) >= 3, colour
        # A part's name stands upon it in black.
        assert contrast(colour, "#000000") >= 4.5, colour


def test_a_bundle_of_unknown_backends_and_modes_is_drawn(tmp_path: Path) -> None:
    """Reports are computed for known names, which are then replaced in all tables."""
    times = {"jax compiled": 1.0, "jax compiled (control)": 1.0, "pytorch eager": 2.0}
    folder = write_bundle(tmp_path / "bundle", times)
    bundle = Bundle.read(folder)
    results = compute_findings(bundle)
    names = {"jax": "mxnet", "compiled": "lazy"}
    tables = [*bundle.tables.values(), *vars(results).values()]
    for table in tables:
        if isinstance(table, pd.DataFrame):
            table.replace(names, regex=True, inplace=True)
            table.columns = table.columns.str.replace("jax compiled", "mxnet lazy")
    assert run.title(results) == "One network, one Adam: PyTorch and mxnet"
    found = summary.summarise(bundle, results)
    assert "mxnet lazy" in marks.image(charts.drawn(["ranking"], found.tables)["ranking"]).decode()
    assert looks.colours("mxnet")[0] in page.html(found)
    assert "jax" not in found.report.markdown().split("## Environment")[0]
