"""report.html in a browser: it needs no other file, and every figure is drawn and reacts."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import run_all
from benchmarks.analysis.findings import compute_findings
from benchmarks.analysis.findings import write as write_tables
from benchmarks.bundle.reader import Bundle
from benchmarks.machine.settings import ROOT
from tests.support.hostile import write_hostile_bundle
from tests.support.pages import NARROW, WIDE, centre, click, colours, one, opened, plots, visible
from tests.synthetic_bundles import write_bundle

pytest.importorskip("plotly", reason="the page needs plotly, which is not installed")
from benchmarks.reports import page as report_page
from benchmarks.reports.figures import interactive

pytestmark = pytest.mark.slow

REFERENCE = ROOT / "results" / "reference" / "epyc-2-cores"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
TIMES = {"jax compiled": 1.0, "jax compiled (control)": 1.0, "pytorch eager streamed": 2.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the reference bundle, with its page written by this version."""
    folder = tmp_path_factory.mktemp("page") / "bundle"
    shutil.copytree(REFERENCE, folder)
    return paged(folder)


def paged(folder: Path) -> Path:
    """A bundle with its tables and its page."""
    bundle = Bundle.read(folder)
    findings = compute_findings(bundle)
    write_tables(findings, folder)
    report_page.write(bundle, findings, folder)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    binary = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs Chromium and chromedriver, which are not installed here")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield started
    started.quit()


@pytest.fixture
def page(browser: Any, folder: Path) -> Any:
    """The browser with the report just opened, in a wide window and a light theme."""
    return opened(browser, folder / "report.html")


def requested(page: Any) -> set[str]:
    """The addresses that a page has asked for; the empty icon is in the page itself."""
    messages = [json.loads(one["message"])["message"] for one in page.get_log("performance")]
    urls = {
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
    return {url for url in urls if not url.startswith("data:")}


def test_the_page_loads_without_errors_and_without_a_network(page: Any, folder: Path) -> None:
    assert page.title.startswith("One network, one Adam")
    assert page.get_log("browser") == []
    here = (folder / "report.html").as_uri()
    assert requested(page) == {here}
    loaded = page.execute_script(
        "return [...document.querySelectorAll('[src], link[href]')].map(e => e.src || e.href)"
    )
    assert all(address.startswith("data:") for address in loaded)
    assert (folder / "report.html").stat().st_size < 8_000_000


def test_every_figure_is_drawn_with_all_that_was_measured(page: Any, folder: Path) -> None:
    drawn = plots(page, "plot.querySelectorAll('svg.main-svg .trace, .trace.bars').length")
    assert set(drawn) == set(interactive.FIGURES)
    assert all(count > 0 for count in drawn.values()), drawn
    summary = pd.read_csv(folder / "summary.csv")
    ranked = set(summary.dropna(subset="rank")["case"])
    # Rungs of a ladder that stand for no tier have no rank.
    measured = set(summary.query("status == 'measured' and repetition == 0")["case"])
    assert set(visible(page, "ranking")) == ranked
    for name in ("curves", "total_time", "certificates"):
        assert ranked <= set(visible(page, name)) <= measured, name
    heights = plots(page, "plot._fullLayout._size.h - plot.layout.meta.height")
    assert all(abs(height) < 1 for height in heights.values()), heights


def test_figures_show_the_numbers_of_the_csvs_with_their_intervals(page: Any, folder: Path) -> None:
    estimates = pd.read_csv(folder / "summary.csv").set_index("case")
    bars = one(
        page,
        "ranking",
        "plot.data.filter(t => t.meta).map(t => [t.meta, t.x[0], t.error_x?.array[0], "
        "t.error_x?.arrayminus[0]])",
    )
    assert bars
    for case, value, up, down in bars:
        row = estimates.loc[case]
        assert value == pytest.approx(row["times_fastest"])
        assert value + up == pytest.approx(row["times_fastest_high"])
        assert value - down == pytest.approx(row["times_fastest_low"])
    curves = pd.read_csv(folder / "curves.csv").set_index(["case", "step"])
    lines = one(
        page,
        "curves",
        "plot._fullData.filter(t => t.mode !== 'none').map(t => [t.meta, "
        "Array.from(t.customdata, row => Array.from(row)), Array.from(t.y)])",
    )
    for case, points, accuracies in lines:
        for (step, low, high), accuracy in zip(points, accuracies, strict=True):
            row = curves.loc[case, step]
            assert [accuracy, low, high] == pytest.approx(
                [row[f"validation_accuracy{end}"] for end in ("", "_low", "_high")], nan_ok=True
            )


def test_a_click_on_the_legend_hides_a_case_with_its_band(page: Any) -> None:
    before = visible(page, "curves")
    assert before.count("pytorch eager") == 2
    click(page, "curves", "eager")
    assert visible(page, "curves") == [case for case in before if case != "pytorch eager"]
    assert visible(page, "ranking").count("pytorch eager") == 1
    click(page, "curves", "eager")
    assert visible(page, "curves") == before


def test_a_click_on_a_framework_hides_all_its_cases(page: Any) -> None:
    before = visible(page, "ranking")
    click(page, "ranking", "JAX/Flax")
    assert visible(page, "ranking") == [case for case in before if not case.startswith("jax")]
    click(page, "ranking", "JAX/Flax")
    assert visible(page, "ranking") == before


def test_a_double_click_shows_a_case_alone(page: Any) -> None:
    before = visible(page, "total_time")
    click(page, "total_time", "eager", times=2)
    assert visible(page, "total_time") == ["pytorch eager"]
    click(page, "total_time", "eager", times=2)
    assert visible(page, "total_time") == before


def test_every_view_is_a_click_away_and_keeps_what_was_hidden(page: Any) -> None:
    click(page, "curves", "eager")
    title = "plot.layout.xaxis.title.text"
    assert one(page, "curves", title) == "seconds of training"
    by_training, by_steps = page.find_elements("css selector", "#figure-curves .views button")
    centre(page, by_steps)
    by_steps.click()
    assert one(page, "curves", title) == "steps trained"
    assert "pytorch eager" not in visible(page, "curves")
    pressed = [button.get_attribute("aria-pressed") for button in (by_training, by_steps)]
    assert pressed == ["false", "true"]
    for button in page.find_elements("css selector", ".views button"):
        page.execute_script("arguments[0].click()", button)
    assert page.get_log("browser") == []


def test_the_data_of_a_figure_open_and_can_be_downloaded(page: Any) -> None:
    for figure in page.find_elements("css selector", "figure"):
        details = figure.find_element("css selector", "details")
        table = details.find_element("css selector", "table")
        assert not table.is_displayed()
        centre(page, details)
        details.find_element("css selector", "summary").click()
        assert table.is_displayed()
        link = details.find_element("css selector", "a[download]").get_attribute("href")
        kind, _, content = link.partition(";base64,")
        assert kind == "data:text/csv"
        rows = pd.read_csv(io.BytesIO(base64.b64decode(content)))
        assert len(rows) == len(table.find_elements("css selector", "tbody tr"))
        columns = [head.text for head in table.find_elements("css selector", "thead th")]
        assert list(rows.columns) == columns


def test_the_theme_follows_the_reader_and_the_button(browser: Any, folder: Path) -> None:
    light = colours(opened(browser, folder / "report.html"))
    page = opened(browser, folder / "report.html", scheme="dark")
    dark = colours(page)
    assert len({*light, *dark}) == 4
    button = page.find_element("id", "theme")
    button.click()
    assert colours(page) == light
    button.click()
    assert colours(page) == dark
    page.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert colours(page)[1] == light[1]
    page.execute_script("dispatchEvent(new Event('afterprint'))")
    assert colours(page) == dark


CONTRAST = """
const luminance = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((c) => {
    const share = c / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const paper = luminance(getComputedStyle(document.body).backgroundColor);
const seen = new Map();
for (const element of document.querySelectorAll("p, a, h1, h2, th, td, dt, dd, summary, button")) {
  const ink = luminance(getComputedStyle(element).color);
  const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  seen.set(`${element.tagName} ${element.className}`, ratio);
}
return Object.fromEntries(seen);
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(browser: Any, folder: Path, scheme: str) -> None:
    """WCAG 2 asks for a contrast of 4.5 to 1 at level AA."""
    ratios = opened(browser, folder / "report.html", scheme=scheme).execute_script(CONTRAST)
    assert len(ratios) > 5
    assert min(ratios.values()) >= 4.5, ratios


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_nothing_sticks_out_of_the_window(browser: Any, folder: Path, width: int) -> None:
    page = opened(browser, folder / "report.html", width=width)
    page.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    # Content that is wider than the window scrolls inside a frame.
    inside = page.execute_script(
        "return [...document.querySelectorAll('svg.main-svg, .views, p, h1, h2, dl, .scroll')]"
        ".filter(one => one.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert inside == 0


def test_a_narrow_window_that_grows_is_redrawn(browser: Any, folder: Path) -> None:
    page = opened(browser, folder / "report.html", width=NARROW)
    assert one(page, "ranking", "plot._fullLayout.width") < NARROW
    size = {"width": WIDE, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_async_script("setTimeout(arguments[0], 400)")
    assert one(page, "ranking", "plot._fullLayout.width") > 900


def test_headings_captions_and_names(page: Any) -> None:
    levels = [int(one.tag_name[1]) for one in page.find_elements("css selector", "h1, h2, h3, h4")]
    assert levels[0] == 1
    assert set(levels[1:]) == {2}
    assert page.find_element("css selector", "html").get_attribute("lang") == "en"
    for link in page.find_elements("css selector", "nav a"):
        anchor = link.get_attribute("href").partition("#")[2]
        assert page.find_elements("id", anchor), anchor
    unnamed = page.execute_script(
        "return [...document.querySelectorAll('table, figure, .plot, .scroll, #theme')].filter("
        "one => !(one.querySelector('caption, figcaption') || one.ariaLabel)).length"
    )
    assert unnamed == 0


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param({"launches": 1}, id="no intervals"),
        pytest.param({"launches": 0, "run": {"launches": 3}}, id="no launches"),
        pytest.param({"rounds": 0}, id="no rounds"),
        pytest.param({"uncertified": tuple(TIMES)}, id="nothing ranked"),
        pytest.param({"skipped": ("numpy eager",)}, id="some skipped"),
    ],
)
def test_whatever_a_run_has_left_there_is_a_page(
    browser: Any, tmp_path: Path, kept: dict[str, Any]
) -> None:
    folder = paged(write_bundle(tmp_path / "bundle", TIMES, **kept))
    page = opened(browser, folder / "report.html")
    assert page.get_log("browser") == []
    assert all(plots(page, "plot.querySelectorAll('svg.main-svg').length").values())


HOVER = """
const found = [];
for (const plot of document.querySelectorAll('.plot')) {
  plot._fullData.forEach((trace, curveNumber) => {
    if (trace.hoverinfo === 'skip') return;
    Plotly.Fx.hover(plot, [{curveNumber, pointNumber: 0}]);
    found.push(plot.querySelector('.hoverlayer').textContent);
  });
}
return found.join(' ');
"""
ACTING = "svg a, svg image, img, iframe, object, embed, form, link:not([rel=icon]), base"


def test_names_in_a_bundle_are_text_and_nothing_else(browser: Any, tmp_path: Path) -> None:
    folder = paged(write_hostile_bundle(tmp_path / "bundle"))
    page = opened(browser, folder / "report.html")
    hovered = page.execute_script(HOVER)
    for button in page.find_elements("css selector", ".views button"):
        page.execute_script("arguments[0].click()", button)
    assert page.title.startswith("One network")
    assert page.get_log("browser") == []
    assert requested(page) == {(folder / "report.html").as_uri()}
    assert page.find_elements("css selector", ACTING) == []
    assert '<img src=x onerror="document.title=1"><script>' in hovered
    for name in ("ranking", "curves", "total_time"):
        texts = one(page, name, "plot.textContent")
        assert '<img src=x onerror="document.title=1"><script>' in texts
        assert "%{x}{{" in texts
    assert "[a](https://evil.example)" in page.find_element("id", "environment").text


def test_whatever_gets_into_the_page_loads_and_runs_nothing(page: Any) -> None:
    page.execute_async_script(
        "const done = arguments[0]; document.body.insertAdjacentHTML('beforeend', "
        "`<img src='http://127.0.0.1:9/a' onerror='document.title = 1'><iframe "
        "src='http://127.0.0.1:9/b'></iframe><style>body { background: url(http://127.0.0.1:9/c) }"
        "</style>`); const script = document.createElement('script'); "
        "script.textContent = 'document.title = 2'; document.body.append(script); "
        "fetch('http://127.0.0.1:9/d').catch(() => setTimeout(done, 200));"
    )
    assert page.title.startswith("One network")
    refused = [one["message"] for one in page.get_log("browser")]
    by_policy = [message for message in refused if "Content Security Policy" in message]
    for what in ("/a'", "127.0.0.1:9/", "/c'", "/d'", "event handler", "inline script"):
        assert any(what in message for message in by_policy), (what, refused)


def test_reports_of_several_bundles_have_a_page_too(
    browser: Any, folder: Path, tmp_path: Path
) -> None:
    other = write_bundle(tmp_path / "other", TIMES)
    assert (
        run_all.main(["report", str(folder), str(other), "--output", str(tmp_path / "both")]) == 0
    )
    page = opened(browser, tmp_path / "both" / "report.html")
    assert page.get_log("browser") == []
    assert visible(page, "bundles") == ["bundle", "other"]
    click(page, "bundles", "other")
    assert visible(page, "bundles") == ["bundle"]
