"""A report's page in a browser: opened, looked at and clicked on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NARROW, WIDE = 390, 1400
DOUBLE_CLICK_SECONDS = 0.4
"""Longer than the pause between the clicks of a double click."""


def opened(browser: Any, path: Path, width: int = WIDE, scheme: str = "light") -> Any:
    """The browser with a page just opened."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    preferred = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": preferred})
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(path.as_uri())
    return browser


def plots(page: Any, script: str) -> dict[str, Any]:
    """The result of a script for each figure, by the figure's name; `plot` is its element."""
    results: dict[str, Any] = page.execute_script(
        "return Object.fromEntries([...document.querySelectorAll('.plot')].map("
        f"plot => [plot.closest('figure').id.replace('figure-', ''), {script}]))"
    )
    return results


def one(page: Any, name: str, script: str) -> Any:
    """The result of a script for one figure; `plot` is its element."""
    return page.execute_script(
        f"const plot = document.querySelector('#figure-{name} .plot'); return {script}"
    )


def visible(page: Any, name: str) -> list[str]:
    """The cases that a figure shows, one for each trace."""
    script = "plot._fullData.filter(t => t.visible === true).map(t => t.meta ?? t.name)"
    shown: list[str] = one(page, name, script)
    return shown


def centre(page: Any, element: Any) -> None:
    """Scroll to an element."""
    script = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})"
    page.execute_script(script, element)


def click(page: Any, name: str, text: str, *, times: int = 1) -> None:
    """Click an entry of a figure's legend or the title of a group, apart from any earlier click."""
    from selenium.webdriver import ActionChains

    entry = page.execute_script(
        "return [...document.querySelectorAll(`#figure-${arguments[0]} .legend .traces`)].find("
        "group => group.textContent === arguments[1]).querySelector('.legendtoggle')",
        name,
        text,
    )
    page.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", entry
    )
    actions = ActionChains(page).move_to_element(entry)
    for _ in range(times):
        actions.click()
    actions.pause(DOUBLE_CLICK_SECONDS).perform()


def colours(page: Any) -> tuple[str, str]:
    """The colours of the page and of the text in a figure."""
    script = (
        "return [getComputedStyle(document.body).backgroundColor, "
        "document.querySelector('#figure-ranking .xtick text').style.fill]"
    )
    page_colour, text = page.execute_script(script)
    return page_colour, text
