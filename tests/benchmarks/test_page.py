"""report.html in a browser: a table to sort, filter and compare in, figures, and no other file."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import run_all
from benchmarks.commands.report import write_reports
from benchmarks.machine.settings import ROOT
from benchmarks.reports.figures import charts
from tests.support.hostile import write_hostile_bundle
from tests.support.pages import (
    NARROW,
    WIDE,
    click,
    colours,
    column,
    drawn,
    opened,
    press,
    shown,
)
from tests.support.report_sources import shows
from tests.synthetic_bundles import write_bundle

pytestmark = pytest.mark.slow

REFERENCE = ROOT / "results" / "reference" / "epyc-zen4-2-cores"
LARGE = ROOT / "results" / "reference" / "epyc-zen4-2-cores-pytorch"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
TIMES = {"jax compiled": 1.0, "jax compiled (control)": 1.0, "pytorch eager streamed": 2.0}
MOST_BYTES = 1_200_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the reference bundle, with its page written by this version."""
    folder = tmp_path_factory.mktemp("page") / "bundle"
    shutil.copytree(REFERENCE, folder)
    return paged(folder)


def paged(folder: Path) -> Path:
    """A bundle with its tables and its page."""
    write_reports(folder)
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


@pytest.mark.parametrize("bundle", [REFERENCE, LARGE], ids=lambda path: path.name)
def test_the_page_is_small(bundle: Path, tmp_path: Path) -> None:
    write_reports(bundle, tmp_path / "report")
    assert (tmp_path / "report" / "report.html").stat().st_size <= MOST_BYTES


def test_every_figure_is_drawn_and_says_what_it_shows(page: Any) -> None:
    figures = drawn(page)
    # The run has no groups of ranks.
    assert set(figures) == set(charts.FIGURES) - {"scaling"}
    assert all(marks > 0 for marks in figures.values()), figures
    texts = page.execute_script(
        "return [...document.querySelectorAll('figure')].map(one => "
        "[one.querySelector('p').textContent, one.querySelector('.plot').ariaLabel])"
    )
    assert all(finding and finding in label for finding, label in texts), texts


def test_a_heading_sorts_and_sorts_the_other_way(page: Any) -> None:
    steps = [float(cell.split()[0]) for cell in column(page, "ms")]
    assert steps == sorted(steps)
    click(page, "#cases th[data-column=ms] button")
    assert [float(cell.split()[0]) for cell in column(page, "ms")] == steps[::-1]
    sorted_by = "#cases th[data-column=ms]"
    assert page.find_element("css selector", sorted_by).get_attribute("aria-sort") == "descending"
    click(page, "#cases th[data-column=case] button")
    assert column(page, "case") == sorted(column(page, "case"))
    assert len(page.find_elements("css selector", "#cases th[aria-sort]")) == 1


def test_cases_are_filtered_and_a_link_shows_the_same(page: Any, folder: Path) -> None:
    whole = column(page, "case")
    click(page, "#choose summary")
    click(page, "#controls input[data-facet=framework][data-value=PyTorch]")
    click(page, "#controls input[data-facet=tier][data-value=taught]")
    click(page, "#controls input[data-facet=column][data-value=lines]")
    click(page, '#cases tr[data-case="jax compiled"] button')
    click(page, "#cases th[data-column=case] button")
    seen = shown(page)
    names = [row[0] for row in seen[1:]]
    assert names
    assert set(names) < set(whole)
    assert not any(name.startswith("pytorch") or "streamed" in name for name in names)
    assert "lines of code" in seen[0]
    assert "times jax compiled" in seen[0]
    address = page.current_url
    again = opened(page, folder / "report.html", part=address.partition("#")[2])
    assert shown(again) == seen
    click(again, "#choose summary")
    click(again, "#reset")
    assert column(again, "case") == whole
    assert again.get_log("browser") == []


def test_addresses_that_mean_nothing_show_everything(browser: Any, folder: Path) -> None:
    part = "sort=nothing&baseline=nobody&framework=none&column=x&tier=%3Cscript%3E"
    page = opened(browser, folder / "report.html", part=part)
    assert len(column(page, "case")) == page.execute_script(
        "return document.querySelectorAll('#cases tbody tr').length"
    )
    assert page.get_log("browser") == []


def test_every_case_is_seen_against_every_other_as_the_csvs_say(page: Any, folder: Path) -> None:
    """All ratios, intervals and verdicts, under each baseline, cell by cell."""
    verdicts = pd.read_csv(folder / "verdicts.csv")
    others = pd.read_csv(folder / "ratios.csv").assign(verdict="not judged")
    both = pd.concat([verdicts, others]).set_index(["case", "other"])
    pairs: Any = both.to_dict("index")
    turned = {"faster": "slower", "slower": "faster"}
    cases, compared = column(page, "case"), 0
    for baseline in cases:
        click(page, f'#cases tr[data-case="{baseline}"] button')
        rows = zip(
            column(page, "case"), column(page, "times"), column(page, "verdict"), strict=True
        )
        for case, times, verdict in rows:
            if case == baseline:
                assert (times, verdict) == ("1", "baseline")
            elif (case, baseline) in pairs:
                row = pairs[case, baseline]
                values = [row["ratio"], row["ratio_low"], row["ratio_high"]]
                assert verdict == row["verdict"]
            elif (baseline, case) in pairs:
                row = pairs[baseline, case]
                values = [1 / row["ratio"], 1 / row["ratio_high"], 1 / row["ratio_low"]]
                assert verdict == turned.get(row["verdict"], row["verdict"])
            else:
                assert (times, verdict) == ("–", "not comparable")
                continue
            if case != baseline:
                numbers = times.replace("[", "").replace("]", "").replace(",", "").split()
                assert all(map(shows, numbers, values)), (case, baseline, times, values)
                compared += 1
    assert compared == len(cases) * (len(cases) - 1)


def test_it_can_be_used_by_keyboard(page: Any) -> None:
    order = column(page, "ms")
    press(page, "#cases th[data-column=ms] button", "\ue007")
    assert column(page, "ms") == order[::-1]
    assert page.switch_to.active_element.get_attribute("textContent").startswith("ms a step")
    press(page, "#cases tbody tr button", " ")
    assert "baseline" in column(page, "verdict")
    said = page.find_element("id", "shown")
    assert said.get_attribute("role") == "status"
    assert "against" in said.text


def test_the_rows_behind_a_figure_open(page: Any) -> None:
    drawn(page)
    for figure in page.find_elements("css selector", "figure"):
        page.execute_script("arguments[0].querySelector('summary').click()", figure)
    page.execute_async_script("setTimeout(arguments[0], 300)")
    lengths = page.execute_script(
        "return [...document.querySelectorAll('figure details')].map("
        "one => one.querySelectorAll('tr').length)"
    )
    assert all(length > 1 for length in lengths), lengths
    assert page.get_log("browser") == []


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
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert colours(page) == light
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_it_prints_whole(page: Any) -> None:
    """No table is cut by a frame that scrolls, and what only a screen needs is left out."""
    drawn(page)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    cut = page.execute_script(
        "return [...document.querySelectorAll('section > .scroll')].filter(one => "
        "getComputedStyle(one).overflow !== 'visible').length"
    )
    assert cut == 0
    assert not page.find_element("id", "theme").is_displayed()
    assert not page.find_element("id", "choose").is_displayed()
    printed = page.execute_cdp_cmd("Page.printToPDF", {})
    assert len(printed["data"]) > 50_000
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, which finds faults of accessibility."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm, which is not installed here")
    place = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--silent", "--prefix", str(place), "axe-core@4.14.1"]
    if subprocess.run(command, timeout=120, check=False, capture_output=True).returncode:
        pytest.skip("axe-core cannot be installed: no registry answers")
    return (place / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_axe_finds_nothing(browser: Any, folder: Path, axe: str, width: int, scheme: str) -> None:
    """Contrast, names, headings, landmarks, tables, keyboard: by axe-core, all of its rules."""
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    page = opened(browser, folder / "report.html", width=width, scheme=scheme)
    drawn(page)
    page.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
    page.execute_script(axe)
    found = page.execute_async_script(
        "const done = arguments[0]; axe.run().then(result => done(result.violations.map("
        "one => [one.impact, one.id, one.nodes[0].html.slice(0, 100)])))"
    )
    page.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})
    assert found == []


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_nothing_sticks_out_of_the_window(browser: Any, folder: Path, width: int) -> None:
    page = opened(browser, folder / "report.html", width=width)
    drawn(page)
    page.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    first = page.execute_script(
        "return [...document.querySelectorAll('#cases thead th')].slice(0, 2).map("
        "one => one.getBoundingClientRect().right)"
    )
    # On a phone, a case and its time come first.
    assert all(right <= width for right in first), first


def test_a_narrow_window_that_grows_is_redrawn(browser: Any, folder: Path) -> None:
    page = opened(browser, folder / "report.html", width=NARROW)
    drawn(page)
    width = "return document.querySelector('#figure-ranking svg').getBoundingClientRect().width"
    assert page.execute_script(width) < 1.2 * NARROW
    size = {"width": WIDE, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_async_script("setTimeout(arguments[0], 1500)")
    assert page.execute_script(width) > 800


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
    drawn(page)
    assert page.get_log("browser") == []
    assert len(column(page, "case")) == len(
        pd.read_csv(folder / "summary.csv").query("repetition < 1")
    )


ACTING = "svg a, svg image, img, iframe, object, embed, form[action], link:not([rel=icon]), base"


def test_names_in_a_bundle_are_text_and_nothing_else(browser: Any, tmp_path: Path) -> None:
    folder = paged(write_hostile_bundle(tmp_path / "bundle"))
    page = opened(browser, folder / "report.html")
    drawn(page)
    for row in page.find_elements("css selector", "#cases tbody tr button"):
        page.execute_script("arguments[0].click()", row)
    for box in page.find_elements("css selector", "#controls input"):
        page.execute_script("arguments[0].click()", box)
    for mark in page.find_elements("css selector", ".plot svg .mark-symbol path")[:40]:
        page.execute_script("arguments[0].dispatchEvent(new MouseEvent('mousemove', "
                            "{bubbles: true, clientX: 5, clientY: 5}))", mark)  # fmt: skip
    assert page.title.startswith("One network")
    assert page.get_log("browser") == []
    assert requested(page) == {(folder / "report.html").as_uri()}
    assert page.find_elements("css selector", ACTING) == []
    texts = page.execute_script("return document.querySelector('#figure-ranking').textContent")
    assert '<img src=x onerror="document.title=1"><script>' in texts
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
    assert drawn(page)["bundles"] > 0
    assert page.get_log("browser") == []
