"""The page in a real browser, headless Chromium: it plays, words change the picture, mouse, keys, fingers, phones."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from m2t_fast.interpretation import CaptionedMotion, save_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = (1280, 860), (390, 844)

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("selenium") is None, reason="selenium is not installed (the dev extra)"
    ),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"),
    pytest.mark.skipif(
        DRIVER is None, reason="no chromedriver on this machine (Debian: apt-get install chromium-driver)"
    ),
]


class Browser:
    """One Chromium for all tests of this file."""

    def __init__(self, profile: Path) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service

        options = Options()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))

    def open(self, page: Path, size: tuple[int, int] = DESKTOP, still: bool = True, dark: bool = False) -> None:
        """``still``: the reader's system asks for reduced motion, so that nothing plays by itself."""
        phone = size == PHONE
        screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        wishes = {"prefers-color-scheme": "dark" if dark else "light"}
        wishes["prefers-reduced-motion"] = "reduce" if still else "no-preference"
        media = {"features": [{"name": name, "value": value} for name, value in wishes.items()]}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": phone})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        self.driver.get(page.as_uri())
        self.settle()

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(f"return {script}", *arguments)

    def settle(self) -> None:
        """Until what was asked for is drawn: the page draws at the next frame of the screen."""
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
        )

    def picture(self, canvas: str = "view") -> str:
        self.settle()
        return self.run("document.getElementById(arguments[0]).toDataURL()", canvas)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def frame(self) -> float:
        self.settle()
        return float(self.one("#scrub").get_property("value"))

    def seek(self, frame: float) -> None:
        self.run("(arguments[0].value = arguments[1], arguments[0].dispatchEvent(new Event('input')))",
                 self.one("#scrub"), frame)  # fmt: skip
        self.settle()

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        chain = ActionChains(self.driver)
        for key in keys:
            chain.send_keys(key)
        chain.perform()
        self.settle()

    def until(self, happens: Callable[[], bool]) -> None:
        """Waits; a test's own time limit is far above what a busy machine needs."""
        end = time.monotonic() + 20
        while not happens():
            assert time.monotonic() < end, "did not happen within 20 seconds"
            time.sleep(0.05)

    def shown(self) -> str:
        self.settle()
        return self.one("#word").text


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.driver.quit()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The browser; a test fails in the end if the console has a message or the page asked for anything."""
    chromium.driver.get("about:blank")
    chromium.driver.get_log("browser")
    yield chromium
    assert chromium.driver.get_log("browser") == []
    assert chromium.run("performance.getEntriesByType('resource').map((entry) => entry.name)") == []


@pytest.fixture
def page(captioned: Callable[..., CaptionedMotion], tmp_path: Path) -> Path:
    return save_page(tmp_path / "page.html", [captioned(start=0.05)])


@pytest.fixture
def gallery(captioned: Callable[..., CaptionedMotion], tmp_path: Path) -> Path:
    captions = ("a person walks", "a man waves the left hand", "a person waves and walks", "")
    motions = [captioned(words=c.split(), name=f"m{n}.npy", seed=n, joints=21 + n % 2) for n, c in enumerate(captions)]
    return save_page(tmp_path / "gallery.html", motions, threshold=0.3)


def test_loads_and_plays_by_itself(browser: Browser, page: Path) -> None:
    browser.open(page, still=False)
    assert browser.driver.title == "a person walks then waves"
    assert [word.text for word in browser.all(".word .text")] == ["a", "person", "walks", "then", "waves"]
    assert browser.one("#name").text == "motion.npy" and not browser.one("#gallery").is_displayed()
    before, picture, clock = browser.frame(), browser.picture(), browser.one("#clock").text
    browser.until(lambda: browser.frame() > before + 0.5)
    assert browser.picture() != picture and browser.one("#clock").text != clock
    browser.one("#play").click()
    assert browser.one("#play").get_attribute("aria-label") == "Play"
    before = browser.frame()
    time.sleep(0.2)
    assert browser.frame() == before


def test_starts_over_at_the_end(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("(document.querySelector('#speed').value = '2', "
                "document.querySelector('#speed').dispatchEvent(new Event('change')))")  # fmt: skip
    browser.one("#play").click()
    browser.seek(38.5)
    browser.until(lambda: browser.frame() == 39)
    browser.until(lambda: browser.frame() < 20)


def test_stands_still_where_motion_is_not_wanted(browser: Browser, page: Path) -> None:
    browser.open(page)
    time.sleep(0.2)
    assert browser.frame() == 0 and browser.one("#play").get_attribute("aria-label") == "Play"
    browser.one("#play").click()
    browser.until(lambda: browser.frame() > 0)
    assert browser.one("#play").get_attribute("aria-label") == "Pause"


def test_picking_a_word_changes_the_picture(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.seek(24)
    words = browser.all(".word")
    seen, windows = {}, {}
    for number in (2, 4):
        words[number].click()
        browser.driver.execute_script("document.activeElement.blur()")
        seen[number], windows[number] = browser.picture(), browser.picture("windows")
        assert [word.get_attribute("aria-pressed") for word in words].count("true") == 1
        assert words[number].get_attribute("aria-pressed") == "true"
        assert browser.shown() == words[number].find_element("css selector", ".text").text
    assert seen[2] != seen[4] and windows[2] != windows[4]
    words[2].click()
    assert browser.picture() == seen[2] and browser.picture("windows") == windows[2]
    # "walks" looks at part 3, around frame 19.5: 2 s of the file, which begins 0.05 s before frame 0.
    assert browser.one("#when").text == "gate 0.90 \u00b7 2.0 s \u00b1 0.4 s"
    values = [value.text for value in browser.all("#parts .value")]
    assert values == ["0.02", "0.02", "0.02", "0.90", "0.02", "0.02"]
    assert "walks: gate 0.90" in browser.one("#live").text and "right arm" in browser.one("#live").text
    words[2].click()
    assert browser.all(".word[aria-pressed=true]") == []


def test_without_a_pick_the_current_word_is_shown(
    browser: Browser, page: Path, captioned: Callable[..., CaptionedMotion]
) -> None:
    browser.open(page)
    motion = captioned()
    for frame, number in enumerate(motion.current_words(0.5)):
        browser.seek(frame)
        assert browser.shown() == (motion.words[number] if number >= 0 else "No word here"), frame
        assert len(browser.all(".word.current")) == (number >= 0)


def test_gates_and_threshold(browser: Browser, page: Path) -> None:
    browser.open(page)
    bars = browser.all(".word .gate")
    fills = browser.all(".word .fill")
    shares = [fill.rect["width"] / bar.rect["width"] for bar, fill in zip(bars, fills, strict=True)]
    assert shares == pytest.approx([0.02, 0.1, 0.9, 0.4, 0.97], abs=0.02)
    motion_words = [word.text for word in browser.all(".word.motion .text")]
    assert motion_words == ["walks", "waves"] and browser.one("#least").text == "0.50"
    before = browser.picture("windows")
    browser.run("(arguments[0].value = 0.3, arguments[0].dispatchEvent(new Event('input')))", browser.one("#threshold"))
    assert [word.text for word in browser.all(".word.motion .text")] == ["walks", "then", "waves"]
    assert browser.one("#least").text == "0.30" and browser.picture("windows") != before
    assert browser.all(".word")[3].get_attribute("aria-label") == "then, motion word, gate 0.40"


def test_the_mouse(browser: Browser, page: Path) -> None:
    from selenium.webdriver import ActionChains

    browser.open(page)
    words = browser.all(".word")
    ActionChains(browser.driver).move_to_element(words[4]).perform()
    assert browser.shown() == "waves"
    ActionChains(browser.driver).move_to_element(browser.one("#when")).perform()
    assert browser.shown() == "No word here" and browser.all(".word[aria-pressed=true]") == []
    ActionChains(browser.driver).move_to_element(browser.one("#scrub")).click().perform()
    assert browser.frame() == pytest.approx(19.5, abs=0.3)
    before = browser.picture()
    ActionChains(browser.driver).drag_and_drop_by_offset(browser.one("#view"), 150, 40).perform()
    turned = browser.picture()
    assert turned != before
    browser.one("#nearer").click()
    assert browser.picture() not in (turned, before)
    browser.one("#reset").click()
    assert browser.picture() == before


def test_the_keyboard(browser: Browser, page: Path) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    browser.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert browser.frame() == 2
    ActionChains(browser.driver).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(Keys.SHIFT).perform()
    assert browser.frame() == 12
    browser.press(Keys.END)
    assert browser.frame() == 39
    browser.press(Keys.HOME)
    assert browser.frame() == 0
    browser.press(Keys.SPACE)
    browser.until(lambda: browser.frame() > 0)
    browser.press(Keys.SPACE)
    before = browser.frame()
    time.sleep(0.15)
    assert browser.frame() == before

    browser.driver.execute_script("document.activeElement.blur(); document.querySelector('#reset').focus()")
    browser.press(Keys.TAB)
    assert browser.shown() == "a"  # focus shows a word, enter picks it
    browser.press(Keys.TAB, Keys.TAB)
    assert browser.shown() == "walks" and browser.all(".word[aria-pressed=true]") == []
    browser.press(Keys.ENTER)
    (picked,) = browser.all(".word[aria-pressed=true] .text")
    assert picked.text == "walks"
    browser.press(Keys.SPACE)  # on a word, too, space plays
    assert browser.one("#play").get_attribute("aria-label") == "Pause"
    assert len(browser.all(".word[aria-pressed=true]")) == 1
    browser.press(Keys.SPACE, Keys.ESCAPE)
    assert browser.one("#play").get_attribute("aria-label") == "Play"
    assert browser.all(".word[aria-pressed=true]") == []

    browser.driver.execute_script("document.querySelector('#view').focus()")
    before, frame = browser.picture(), browser.frame()
    browser.press(Keys.ARROW_LEFT)
    assert browser.picture() != before and browser.frame() == frame
    browser.press(Keys.ARROW_RIGHT)
    browser.driver.execute_script("document.querySelector('#threshold').focus()")
    browser.press(Keys.ARROW_RIGHT)
    assert browser.one("#least").text == "0.51" and browser.frame() == frame


def tap(browser: Browser, element: Any) -> None:
    """A finger on the middle of an element."""
    browser.run("arguments[0].scrollIntoView({block: 'center'})", element)
    box = browser.run("JSON.parse(JSON.stringify(arguments[0].getBoundingClientRect()))", element)
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    for kind, points in (("touchStart", [point]), ("touchEnd", [])):
        browser.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    browser.settle()


@pytest.mark.parametrize("many", [False, True])
def test_a_phone(browser: Browser, page: Path, gallery: Path, many: bool) -> None:
    browser.open(gallery if many else page, PHONE)
    assert browser.run("document.documentElement.scrollWidth") <= PHONE[0]
    assert browser.one("#view").rect["width"] > 0.9 * PHONE[0]
    for selector in (".word", "#play", ".camera button"):
        assert all(element.rect["height"] >= 40 for element in browser.all(selector))
    before = browser.picture()
    tap(browser, browser.all(".word")[-1])
    assert browser.shown() == browser.all(".word .text")[-1].text
    assert browser.all(".word")[-1].get_attribute("aria-pressed") == "true"
    tap(browser, browser.all(".word")[-1])
    assert browser.all(".word[aria-pressed=true]") == [] and browser.picture() == before
    box = browser.one("#view").rect
    for kind, right in (("touchStart", 0), ("touchMove", 40), ("touchMove", 90), ("touchEnd", None)):
        points = [] if right is None else [{"x": 150 + right, "y": box["height"] / 2}]
        browser.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert browser.picture() != before  # a finger across the stage turns it
    before = browser.picture()
    tap(browser, browser.one("#scrub"))
    assert 15 < browser.frame() < 25 and browser.picture() != before
    tap(browser, browser.one("#play"))
    assert browser.one("#play").get_attribute("aria-label") == "Pause"


def test_dark_and_light(browser: Browser, page: Path) -> None:
    def brightness() -> int:
        colour = browser.run("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in colour.strip("rgb()").split(","))

    browser.open(page, dark=True)
    dark, picture = brightness(), browser.picture()
    light = {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", light)  # the page follows without being loaded again
    assert dark < 150 and brightness() > 600 and browser.picture() != picture


def test_gallery(browser: Browser, gallery: Path) -> None:
    browser.open(gallery)
    cards = browser.all(".card")

    def visible() -> list[str]:
        return [card.find_element("css selector", ".file").text for card in cards if card.is_displayed()]

    def type_in(text: str) -> None:
        browser.one("#filter").clear()
        browser.one("#filter").send_keys(text)

    assert visible() == ["m0.npy", "m1.npy", "m2.npy", "m3.npy"] and browser.one("#count").text == "4 motions"
    for text, expected in {
        "wav": ["m1.npy", "m2.npy"],
        "WALKS": ["m0.npy", "m2.npy"],
        "hand waves": ["m1.npy"],
        "alks": [],
    }.items():
        type_in(text)
        assert visible() == expected and browser.one("#count").text == f"{len(expected)} of 4 motions"
    type_in("wav")
    assert [hit.text for hit in browser.all(".hit") if hit.is_displayed()] == ["waves", "waves"]
    type_in("waves\n")
    assert browser.one("#name").text == "m1.npy"
    assert [word.text for word in browser.all(".word .text")] == ["a", "man", "waves", "the", "left", "hand"]
    assert [card.get_attribute("aria-current") for card in cards] == ["false", "true", "false", "false"]
    before = browser.picture()
    cards[2].click()
    assert browser.picture() != before and browser.one("#name").text == "m2.npy"
    chip = browser.one(".chip[data-word=walks]")
    chip.click()
    assert visible() == ["m0.npy", "m2.npy"] and chip.get_attribute("aria-pressed") == "true"
    chip.click()
    assert len(visible()) == 4 and chip.get_attribute("aria-pressed") == "false"
    poses = browser.run("[...document.querySelectorAll('.poses')].map((canvas) => canvas.toDataURL())")
    assert len(set(poses)) == 4


@pytest.fixture
def crowd(captioned: Callable[..., CaptionedMotion], tmp_path: Path) -> Path:
    """200 motions, few words each."""
    captions = ("a man walks", "he waves the left hand", "it is turning")
    motions = [
        captioned(
            frames=4, words=captions[n % 3].split(), gate=[0.9] * len(captions[n % 3].split()), name=f"take {n}.bvh"
        )
        for n in range(200)
    ]
    return save_page(tmp_path / "crowd.html", motions)


def test_the_filter_finds_what_its_placeholder_says(browser: Browser, crowd: Path) -> None:
    browser.open(crowd)

    def count(text: str) -> int:
        browser.one("#filter").clear()
        browser.one("#filter").send_keys(text)
        return sum(browser.run("[...document.querySelectorAll('.cards li')].map((item) => !item.hidden)"))

    chips = [chip.get_attribute("data-word") for chip in browser.all(".chip")]
    assert {"man", "walks", "waves"} <= set(chips) and not {"a", "is", "it", "the"} & set(chips)
    assert count(browser.one("#filter").get_attribute("placeholder")) > 0
    assert count("walk, left hand") == 67 + 67 and count("walk left hand") == 0
    assert browser.one("#count").text == "0 of 200 motions" and browser.one("#nothing").text == "Nothing found."
    assert count("take 19") == 12 and count("19.bvh, 7.BVH") == 20 + 2  # names, in any case
    assert browser.one("#clear").is_displayed()
    browser.one("#clear").click()
    assert browser.one("#filter").get_property("value") == "" and browser.one("#count").text == "200 motions"
    assert not browser.one("#clear").is_displayed()
    assert browser.run("document.activeElement.id") == "filter"


def test_a_large_gallery_is_few_stops_of_the_tab_key(browser: Browser, crowd: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(crowd)
    browser.driver.execute_script("document.querySelector('#filter').focus()")
    stops = 0
    while browser.run("document.activeElement.id") != "view":
        browser.press(Keys.TAB)
        stops += 1
        assert stops < 6
    browser.press(Keys.SHIFT + Keys.TAB)
    browser.driver.execute_script("document.querySelector('.card[tabindex=\"0\"]').focus()")
    browser.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.PAGE_DOWN, Keys.ARROW_UP)
    assert browser.run("document.activeElement.querySelector('.file').textContent") == "take 11.bvh"
    assert browser.frame() == 0  # the arrows move the focus, not the time
    assert len(browser.all(".card[tabindex='0']")) == 1
    browser.press(Keys.ENTER)
    assert browser.one("#name").text == "take 11.bvh" and browser.run("document.activeElement.id") == "view"
    browser.driver.execute_script("document.querySelector('.card[tabindex=\"0\"]').focus()")
    browser.press(Keys.END)
    assert browser.run("document.activeElement.querySelector('.file').textContent") == "take 199.bvh"


def test_a_large_gallery_on_a_phone(browser: Browser, crowd: Path) -> None:
    browser.open(crowd, PHONE)
    assert browser.run("document.documentElement.scrollWidth") <= PHONE[0]
    card = browser.run("document.querySelector('.card').getBoundingClientRect().top")
    stage = browser.run("document.querySelector('#stage').getBoundingClientRect().top")
    assert card < stage < 480  # the motions come first, and the body is in sight below them
    tap(browser, browser.all(".card")[2])
    assert browser.one("#name").text == "take 2.bvh"


def test_a_link_to_one_motion(browser: Browser, crowd: Path) -> None:
    browser.open(crowd)
    browser.all(".card")[3].click()
    link = browser.one("#link").get_attribute("href")
    assert link == f"{crowd.as_uri()}#4-take%203.bvh"
    browser.open(crowd)
    assert browser.one("#name").text == "take 0.bvh"
    browser.run(f"(location.href = '{link}')")
    browser.until(lambda: browser.one("#name").text == "take 3.bvh")
    browser.driver.refresh()
    browser.settle()
    assert browser.one("#name").text == "take 3.bvh"
    browser.run("(location.hash = '#77-take%205.bvh')")  # another page's number: the name decides
    browser.until(lambda: browser.one("#name").text == "take 5.bvh")
    browser.run("(location.hash = '#nothing')")
    assert browser.one("#name").text == "take 5.bvh"


def test_what_the_page_tells(browser: Browser, captioned: Callable[..., CaptionedMotion], tmp_path: Path) -> None:
    motion = captioned(score=-0.53, others=[("a man walks", -0.7), ("he runs", -0.9)])
    browser.open(save_page(tmp_path / "page.html", [motion], about="Run runs/first"))
    assert browser.one("h1").text == "a person walks then waves" and browser.one(".about").text == "Run runs/first"
    assert browser.one("#score").text == "score -0.53"
    browser.one("#others summary").click()
    assert [item.text for item in browser.all("#others li")] == ["a man walks (-0.70)", "he runs (-0.90)"]
    assert "where it looked" not in browser.one(".guide").text
    browser.one(".guide summary").click()
    assert "where it looked" in browser.one(".guide").text


def test_a_picture_is_saved(browser: Browser, page: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow, which comes with matplotlib, is not installed")
    folder = tmp_path / "downloads"
    folder.mkdir()
    allow = {"behavior": "allow", "downloadPath": str(folder)}
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", allow)
    browser.open(page)
    browser.seek(20)
    browser.one("#save").click()
    file = folder / "motion.npy-2.05s.png"
    browser.until(file.exists)
    with image.open(file) as found:
        assert found.size[0] > 600 and len(found.convert("RGB").resize((90, 60)).getcolors(9999)) > 50


AXE = os.environ.get("AXE_CORE")


@pytest.mark.skipif(AXE is None, reason="AXE_CORE does not name axe.min.js (npm pack axe-core)")
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("many", [False, True])
def test_axe_finds_nothing(
    browser: Browser, page: Path, gallery: Path, size: tuple[int, int], dark: bool, many: bool
) -> None:
    browser.open(gallery if many else page, size, dark=dark)
    browser.driver.execute_script("document.querySelector('.guide').open = true")
    browser.driver.execute_script(Path(AXE or "").read_text(encoding="utf-8"))
    found = browser.driver.execute_async_script(
        "const done = arguments[0]; axe.run().then((result) => done(result.violations))"
    )
    assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in found] == []


def test_the_segments_of_a_take(browser: Browser, captioned: Callable[..., CaptionedMotion], tmp_path: Path) -> None:
    """They tile the time line, a click goes to one's beginning, the playing one is marked and told."""
    segments = ((-0.5, 15.0, "a person walks"), (15.0, 39.5, "a person <b>waves</b>"))
    path = save_page(tmp_path / "take.html", [captioned(words=(), segments=segments)])
    browser.open(path)
    playing = "[...document.querySelectorAll('.segment')].map((x) => x.classList.contains('playing'))"
    assert browser.run(playing) == [True, False]
    assert browser.run("document.getElementById('saying').textContent") == "a person walks"
    browser.run("document.querySelectorAll('.segment')[1].click()")
    browser.settle()
    assert browser.run("Number(document.getElementById('scrub').value)") == 15.0
    assert browser.run(playing) == [False, True]
    assert browser.run("document.getElementById('saying').textContent") == "a person <b>waves</b>"
    first, second = browser.run(
        "[...document.querySelectorAll('.segment')].map((x) => x.getBoundingClientRect().toJSON())"
    )
    scrub = browser.run("document.getElementById('scrub').getBoundingClientRect().toJSON()")
    assert abs(first["left"] - scrub["left"]) < 2 and abs(first["right"] - second["left"]) < 2
    assert abs(second["right"] - scrub["right"]) < 2 and first["width"] < second["width"]
    assert browser.run("document.getElementById('words').hidden")


def test_another_motion_brings_its_own_word(
    browser: Browser, captioned: Callable[..., CaptionedMotion], tmp_path: Path
) -> None:
    motions = [captioned(words=(first, "b", "c", "d"), gate=(0.9, 0, 0, 0)) for first in ("walks", "bows")]
    browser.open(save_page(tmp_path / "page.html", motions))
    for number in (0, 1, 0):
        browser.all(".card")[number].click()
        assert browser.shown() == motions[number].words[0]  # the same place in both captions, at the same frame


def test_any_words(browser: Browser, captioned: Callable[..., CaptionedMotion], tmp_path: Path) -> None:
    words = [
        "</script><script>window.hacked=1</script>",
        "<img src=x onerror=hacked=1>",
        "&amp;",
        "\"'",
        "日本",
        "w" * 300,
    ]
    motions = [captioned(words=words, name=words[0], reference=words[1]), captioned(words=words[::-1])]
    for size in (DESKTOP, PHONE):
        browser.open(save_page(tmp_path / "page.html", motions), size)
        assert [word.get_property("textContent") for word in browser.all(".word .text")] == words
        assert browser.one("#name").text == words[0] and words[1] in browser.one("#reference").text
        assert browser.run("window.hacked") is None
        assert browser.run("document.documentElement.scrollWidth") <= size[0]


def test_without_words(browser: Browser, captioned: Callable[..., CaptionedMotion], tmp_path: Path) -> None:
    browser.open(save_page(tmp_path / "page.html", [captioned(words=())]), still=False)
    browser.until(lambda: browser.frame() > 0)
    assert browser.all(".word") == [] and browser.shown() == "No word here"


def test_a_motion_of_one_frame(browser: Browser, captioned: Callable[..., CaptionedMotion], tmp_path: Path) -> None:
    browser.open(save_page(tmp_path / "page.html", [captioned(frames=1, start=0.05)]), still=False)
    time.sleep(0.1)
    assert browser.frame() == 0 and not browser.one("#play").is_enabled()
    assert browser.one("#clock").text == "0.05 s / 0.05 s"
    before, windows = browser.picture(), browser.picture("windows")
    browser.all(".word")[0].click()
    assert browser.picture() != before and browser.picture("windows") != windows


@pytest.mark.parametrize("joints", [21, 22])
def test_a_long_motion(browser: Browser, captioned: Callable, tmp_path: Path, joints: int) -> None:
    browser.open(save_page(tmp_path / "page.html", [captioned(frames=2500, joints=joints)]), still=False)
    browser.until(lambda: browser.frame() > 2)
    browser.seek(2499)
    assert browser.one("#clock").text == "249.90 s / 249.90 s"
    before = browser.picture()
    browser.seek(1800)
    assert browser.picture() != before
