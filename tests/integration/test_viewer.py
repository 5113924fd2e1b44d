"""The viewer in a real browser: every voxel in every window, scrolled by wheel, keys, mouse and finger."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from pydicom.dataset import Dataset

from gateways.console.pictures import Pictures
from gateways.console.stack import WINDOWS, Stack
from gateways.imaging.volume import Volume
from gateways.objects import FileStore
from schemas.base import NOTICE
from tests.integration.viewer_page import Site, served
from tests.results import ReadStudy
from tests.unit.gateways.imaging import ct

pytestmark = pytest.mark.integration

SLICES = 12
PIXELS = """() => {
  const canvas = document.querySelector('canvas');
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return Array.from({length: data.length / 4}, (_, i) => data[4 * i]);
}"""


class Served:
    """A series on a page, with what is to be seen of it."""

    def __init__(self, site: Site, stack: Stack, volume: Volume, labels: np.ndarray) -> None:
        self.site, self.stack = site, stack
        # Axial and upright: as it is shown, but for the order.
        self.hounsfield, self.labels = volume.voxels[::-1], labels[::-1]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    def bend(ds: Dataset, z: int) -> None:
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2", "1.2.3"
        noise = np.random.default_rng(z).integers(-1024, 2000, (ct.ROWS, ct.COLUMNS))
        noise[:, :40] = np.random.default_rng(z).integers(-60, 160, (ct.ROWS, 40))
        ct.store(ds, (noise + 1024).astype(np.int32))

    store = FileStore(tmp_path_factory.mktemp("store"))
    study = ReadStudy(store, "suwon", ct.series(SLICES, bend))
    labels = np.zeros((SLICES, ct.ROWS, ct.COLUMNS), np.uint8)
    labels[3:5, 5:20, 10:30], labels[8, 30:40, 40:50] = 1, 1
    reading = study.result(labels=labels).series[0].reading
    assert reading is not None
    pictures = Pictures(store)
    with served(pictures, study.manifest, reading.label_map, reading.findings) as site:
        stack = pictures.stack(study.manifest, reading.label_map, reading.findings)
        yield Served(site, stack, study.volume(), labels)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, series: Served) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 900, "height": 800})
    with without_errors(context):
        yield opened(context, series)
    context.close()


@pytest.fixture
def phone(browser: Browser, series: Served) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 390, "height": 780}, device_scale_factor=3, is_mobile=True, has_touch=True
    )
    with without_errors(context):
        yield opened(context, series)
    context.close()


@contextmanager
def without_errors(context: BrowserContext) -> Iterator[None]:
    """Neither the script fails nor the policy of the page forbids anything."""
    said: list[str] = []
    context.on("console", lambda message: message.type == "error" and said.append(message.text))
    context.on("weberror", lambda error: said.append(str(error.error)))
    yield
    assert said == []


def opened(context: BrowserContext, series: Served) -> Page:
    page = context.new_page()
    page.goto(series.site.url)
    shows(page, series.stack.opening())
    return page


def shows(page: Page, index: int) -> None:
    """A slice is drawn, under its own number."""
    expect(page.locator("canvas")).to_have_attribute("data-slice", str(index))
    expect(page.locator(".counter")).to_have_text(re.compile(rf"^{index + 1}/{SLICES}"))


def windowed(page: Page, width: int, level: int) -> None:
    expect(page.locator(".stage .window")).to_have_text(f"W {width} L {level}")


def pixels(page: Page) -> np.ndarray:
    return np.array(page.evaluate(PIXELS), np.uint8).reshape(ct.ROWS, ct.COLUMNS)


def middle(page: Page) -> tuple[float, float]:
    box = page.locator(".stage").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def outlines(page: Page) -> list[str]:
    return page.locator(".slice path").evaluate_all("all => all.map(one => one.getAttribute('d'))")


@pytest.mark.parametrize(("key", "window"), list(enumerate(WINDOWS.values(), start=1)), ids=WINDOWS)
def test_every_voxel_is_seen_in_each_window(series, page, key, window):
    page.keyboard.press(str(key))
    windowed(page, window.width, window.level)
    np.testing.assert_array_equal(pixels(page), window.grey(series.hounsfield[series.stack.opening()]))
    pressed = page.locator(".tools [aria-pressed=true]").all_text_contents()
    assert pressed[0].lower() == window.name


def test_every_slice_is_seen_under_its_own_number(series, page):
    page.keyboard.press("Home")
    for index in range(SLICES):
        shows(page, index)
        np.testing.assert_array_equal(pixels(page), WINDOWS["brain"].grey(series.hounsfield[index]))
        page.keyboard.press("ArrowDown")
    shows(page, SLICES - 1)


def test_windows_and_scrolling_ask_the_server_for_each_slice_once(series, browser):
    context = browser.new_context()
    series.site.asked.clear()
    page = opened(context, series)
    page.wait_for_load_state("networkidle")
    for key in ("Home", "2", "End", "3", "k", "4", "o", "o"):
        page.keyboard.press(key)
    shows(page, series.stack.opening())
    assert {path: times for path, times in series.site.asked.items() if path.startswith("/series/tiles/")} == {
        f"/series/tiles/{index}": 1 for index in range(SLICES)
    }
    assert series.site.asked["/series/marked/outlines.json"] == 1
    context.close()


def test_keys_and_wheel_scroll(series, page):
    opening = series.stack.opening()
    page.keyboard.press("ArrowUp")
    shows(page, opening - 1)
    page.keyboard.press("PageDown")
    shows(page, min(opening + 4, SLICES - 1))
    page.keyboard.press("Home")
    shows(page, 0)
    page.mouse.move(*middle(page))
    for _ in range(3):
        page.mouse.wheel(0, 100)
    shows(page, 3)
    page.mouse.wheel(0, -100)
    shows(page, 2)


def test_k_goes_from_key_slice_to_key_slice(series, page):
    keys = [mark.key for mark in series.stack.marks]
    assert len(keys) == 2
    page.keyboard.press("Home")
    for expected in (*keys, keys[0]):
        page.keyboard.press("k")
        shows(page, expected)


def test_o_takes_the_outlines_away_and_brings_them_back(series, page):
    expect(page.locator(".slice path")).to_have_count(1)
    (path,) = outlines(page)
    filled = page.evaluate(
        """([data, columns, rows]) => {
          const canvas = new OffscreenCanvas(columns, rows).getContext('2d');
          const path = new Path2D(data);
          return Array.from({length: rows * columns},
            (_, i) => canvas.isPointInPath(path, i % columns + 0.5, Math.floor(i / columns) + 0.5));
        }""",
        [path, ct.COLUMNS, ct.ROWS],
    )
    np.testing.assert_array_equal(
        np.array(filled).reshape(ct.ROWS, ct.COLUMNS), series.labels[series.stack.opening()] == 1
    )
    page.keyboard.press("o")
    expect(page.locator(".slice path")).to_have_count(0)
    page.keyboard.press("o")
    expect(page.locator(".slice path")).to_have_count(1)
    page.keyboard.press("Home")
    expect(page.locator(".slice path")).to_have_count(0)


def test_the_right_mouse_button_changes_the_window_and_the_left_one_scrolls(series, page):
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x + 20, y - 10)
    page.mouse.up(button="right")
    windowed(page, 90, 35)
    shows(page, series.stack.opening())
    page.keyboard.press("Home")
    page.mouse.down()
    page.mouse.move(x, y + 40)
    page.mouse.up()
    expect(page.locator("canvas")).to_have_attribute("data-slice", re.compile(r"^[1-9]"))
    windowed(page, 90, 35)


def test_edges_and_the_warning_are_always_there(page):
    edges = {edge: page.locator(f".slice .{edge}").text_content() for edge in ("left", "right", "top", "bottom")}
    assert edges == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    expect(page.locator(".notice")).to_have_text(NOTICE)
    expect(page.locator(".notice")).to_be_in_viewport()


def test_voxels_keep_their_proportions_and_fit_the_screen(series, page, phone):
    for shown in (page, phone):
        box, stage = (shown.locator(one).bounding_box() for one in (".slice", ".stage"))
        assert box
        assert stage
        height = box["width"] * ct.ROWS * 0.8 / (ct.COLUMNS * 0.5)
        assert box["height"] == pytest.approx(height, abs=1)
        assert box["height"] <= stage["height"] + 1
        assert box["width"] <= stage["width"] + 1


def test_a_finger_scrolls_and_buttons_do_what_keys_do(series, phone):
    phone.get_by_role("slider").fill("0")
    shows(phone, 0)
    x, y = middle(phone)
    finger = phone.context.new_cdp_session(phone)
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 9):
        finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y + 10 * step}]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    shows(phone, 5)
    assert phone.evaluate("scrollY") == 0
    phone.get_by_role("button", name="Bone").tap()
    windowed(phone, 2800, 600)
    np.testing.assert_array_equal(pixels(phone), WINDOWS["bone"].grey(series.hounsfield[5]))
    phone.get_by_role("button", name="Key slice").tap()
    expect(phone.locator(".slice path")).to_have_count(1)
    phone.get_by_role("button", name="Outlines").tap()
    expect(phone.locator(".slice path")).to_have_count(0)


def test_a_slice_that_cannot_be_loaded_is_said_and_shown_as_nothing(series, browser):
    context = browser.new_context()
    series.site.failing = {"/series/tiles/0"}
    try:
        page = opened(context, series)
        page.keyboard.press("Home")
        expect(page.locator(".told")).to_have_text("This slice could not be loaded")
        expect(page.locator("canvas")).to_be_hidden()
        expect(page.locator(".slice img")).to_be_hidden()
    finally:
        series.site.failing = set()
    page.keyboard.press("ArrowDown")
    shows(page, 1)
    page.keyboard.press("ArrowUp")
    shows(page, 0)
    context.close()


def test_outlines_that_cannot_be_loaded_are_said(series, browser):
    context = browser.new_context()
    series.site.failing = {"/series/marked/outlines.json"}
    try:
        page = opened(context, series)
        expect(page.get_by_role("button", name="The outlines could not be loaded")).to_be_disabled()
    finally:
        series.site.failing = set()
    context.close()


def test_what_has_changed_is_said_and_nothing_of_it_shown_under_the_old_numbers(series, browser):
    context = browser.new_context()
    page = opened(context, series)
    page.wait_for_load_state("networkidle")
    expect(page.locator(".changed")).to_be_hidden()
    series.site.changed = {f"/series/tiles/{index}" for index in range(SLICES)}
    try:
        # The page's other part was asked for anew.
        page.evaluate("document.querySelector('#state').innerHTML = '<p data-content=\"as it was\" hidden></p>'")
        expect(page.locator(".changed")).to_be_hidden()
        page.evaluate("document.querySelector('#state').innerHTML = '<p data-content=\"as it is\" hidden></p>'")
        expect(page.locator(".changed")).to_be_visible()
        page.goto(series.site.url)
        expect(page.locator(".changed")).to_be_visible()  # a tile said so
        page.keyboard.press("Home")
        expect(page.locator(".told")).to_have_text("This slice could not be loaded")
        expect(page.locator("canvas")).to_be_hidden()
    finally:
        series.site.changed = set()
    page.get_by_role("link", name="Load anew").click()
    shows(page, series.stack.opening())
    expect(page.locator(".changed")).to_be_hidden()
    context.close()


def test_a_stack_that_has_changed_or_is_none_is_said(series, browser):
    context = browser.new_context()
    page = context.new_page()
    series.site.changed = {"/series/marked/stack.json"}
    try:
        page.goto(series.site.url)
        expect(page.locator(".changed")).to_be_visible()
    finally:
        series.site.changed = set()
    series.site.failing = {"/series/marked/stack.json"}
    try:
        page.goto(series.site.url)
        expect(page.locator("figure")).to_contain_text("no pictures to show of this series")
        expect(page.locator(".changed")).to_be_hidden()
    finally:
        series.site.failing = set()
    context.close()


def test_a_finding_leads_to_its_key_slice(series, page):
    keys = [mark.key for mark in series.stack.marks]
    link = page.get_by_role("link", name="The other finding")
    link.focus()
    page.keyboard.press("Enter")
    shows(page, keys[1])
    assert page.url == series.site.url, "nothing is loaded for that"
    page.goto(f"{series.site.url}?finding=1")
    shows(page, keys[1])


def test_colours_have_a_legend_and_cautions_stand_beside_the_slices(page):
    expect(page.locator(".legend li")).to_have_text(["Bleed"])
    colour = "one => getComputedStyle(one, '::before').borderTopColor"
    drawn = "one => getComputedStyle(one).stroke"
    assert page.locator(".legend li").evaluate(colour) == page.locator(".slice path").first.evaluate(drawn)
    expect(page.locator(".cautions li")).to_have_text(["1 of 13 slices are missing"])


def test_pictures_that_are_under_way_are_given_up_for_what_a_person_says(series, browser):
    context = browser.new_context()
    page = opened(context, series)
    page.route("**/series/tiles/*", lambda route: None)  # never answered
    page.reload()
    expect(page.locator(".stage")).to_be_visible()
    with page.expect_event("requestfailed", lambda request: "/tiles/" in request.url):
        page.evaluate(
            """() => {
              const form = document.createElement('form');
              form.action = '/nowhere';
              document.body.append(form);
              addEventListener('submit', (event) => event.preventDefault());
              form.requestSubmit();
            }"""
        )
    context.close()


def test_without_script_the_key_slice_is_there(series, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    with page.expect_response(re.compile("/picture$")) as answer:
        page.goto(series.site.url)
    assert answer.value.ok
    expect(page.locator("figure img")).to_be_visible()
    context.close()
