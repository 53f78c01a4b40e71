"""Pictures of a page for README.md and docs/page.md, by Chromium: `python docs/page_pictures.py PAGE [MOTION]`.

MOTION is what stands behind the # of the page's link to one motion.
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options

IMAGES = Path(__file__).parent / "images"
RATE = 8
"""Pictures per second of the animation."""
WIDE = 880
"""Pixels of the animation's width."""


def open_chromium() -> webdriver.Chrome:
    """A Chromium without a window."""
    options = Options()
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options)


def show(driver: webdriver.Chrome, page: str, width: int, height: int, phone: bool = False) -> None:
    """Open the address of a page standing still, light on a desk and dark on a phone."""
    screen = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
    wishes = {"prefers-color-scheme": "dark" if phone else "light", "prefers-reduced-motion": "reduce"}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    media = {"features": [{"name": name, "value": value} for name, value in wishes.items()]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    driver.get(page)
    time.sleep(0.5)


def picture(driver: webdriver.Chrome, frame: float | None = None) -> Image.Image:
    """What the page looks like, at a frame of its motion."""
    if frame is not None:
        script = "const scrub = document.getElementById('scrub'); scrub.value = arguments[0];"
        driver.execute_script(script + "scrub.dispatchEvent(new Event('input'))", frame)
        wait = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
        driver.execute_async_script(wait)
    return Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")


def main(file: Path, motion: str = "") -> None:
    """Write page.webp (animated), page-desktop.png and page-phone.png into docs/images."""
    driver, page = open_chromium(), f"{file.resolve().as_uri()}#{motion}"
    try:
        show(driver, page, 1280, 840)
        last = float(driver.find_element("id", "scrub").get_attribute("max") or 0)
        picture(driver, last / 3).save(IMAGES / "page-desktop.png", optimize=True)
        count = round(last / 10 * RATE)
        pictures = [picture(driver, number * 10 / RATE) for number in range(count)]
        small = [p.resize((WIDE, round(p.height * WIDE / p.width)), Image.Resampling.LANCZOS) for p in pictures]
        animated = IMAGES / "page.webp"
        small[0].save(
            animated, save_all=True, append_images=small[1:], duration=1000 // RATE, loop=0, quality=60, method=6
        )
        print(f"{animated}: {animated.stat().st_size / 1e6:.2f} MB, {count} pictures")
        show(driver, page, 390, 844, phone=True)
        picture(driver, last / 3).resize((390, 844), Image.Resampling.LANCZOS).save(
            IMAGES / "page-phone.png", optimize=True
        )
    finally:
        driver.quit()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
