"""A report's page in a browser: opened, looked at and clicked on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NARROW, WIDE = 390, 1280


def opened(
    browser: Any, path: Path, width: int = WIDE, scheme: str = "light", part: str = ""
) -> Any:
    """The browser with a page just opened, at a `part` of its address."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == NARROW}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    preferred = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": preferred})
    # A page that is open already would only be scrolled.
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(f"{path.as_uri()}#{part}" if part else path.as_uri())
    return browser


def drawn(page: Any) -> dict[str, int]:
    """The number of marks in each figure, by its name, once all are drawn."""
    marks: dict[str, int] = page.execute_async_script(
        "const done = arguments[0], figures = [...document.querySelectorAll('figure')];"
        "const look = () => figures.every(one => one.dataset.drawn) ? done(Object.fromEntries("
        "figures.map(one => [one.id.replace('figure-', ''), one.querySelectorAll("
        "'.plot svg .role-mark > *').length]))) : setTimeout(look, 50); look();"
    )
    return marks


def shown(page: Any) -> list[list[str]]:
    """The table of cases as it is seen: its headings, then its rows."""
    cells: list[list[str]] = page.execute_script(
        "return [...document.querySelectorAll('#cases tr')].filter(row => !row.hidden).map("
        "row => [...row.cells].filter(one => !one.hidden).map(one => one.innerText.trim()))"
    )
    return cells


def column(page: Any, name: str) -> list[str]:
    """The texts of one column of the table of cases, as they are ordered."""
    cells: list[str] = page.execute_script(
        "const place = [...document.querySelectorAll('#cases thead th')].findIndex("
        "one => one.dataset.column === arguments[0]);"
        "return [...document.querySelectorAll('#cases tbody tr')].filter(row => !row.hidden).map("
        "row => row.cells[place].textContent.trim())",
        name,
    )
    return cells


def click(page: Any, selector: str) -> None:
    """Click an element, brought into view first."""
    element = page.find_element("css selector", selector)
    script = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})"
    page.execute_script(script, element)
    element.click()


def press(page: Any, selector: str, key: str) -> None:
    """Give an element the focus and press a key."""
    element = page.find_element("css selector", selector)
    page.execute_script("arguments[0].focus()", element)
    element.send_keys(key)


def colours(page: Any) -> tuple[str, str]:
    """The colours of the page and of the text in a figure."""
    drawn(page)
    script = (
        "return [getComputedStyle(document.body).backgroundColor, "
        "getComputedStyle(document.querySelector('#figure-ranking .role-axis-label text')).fill]"
    )
    page_colour, text = page.execute_script(script)
    return page_colour, text
