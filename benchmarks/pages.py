"""Print size and load time of the pages in Chromium, and save screenshots: python -m benchmarks.pages DIR.

The pages are data/report.html of the last `dvc repro` and that of `python -m src.app`, which is given a drawn eye. Each
is shown as wide as a desk's screen and as a phone's.
"""

import argparse
import io
import shutil
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from src import phantom

REPORT = Path("data/report.html")
WIDTHS = {"desk": (1280, 900), "phone": (390, 844)}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PORT = 8765


def loaded(page: Page, address: str) -> float:
    """Milliseconds from the request to the end of loading, as the browser counts."""
    page.goto(address)
    return page.evaluate("() => performance.getEntriesByType('navigation')[0].duration")


def map_an_eye(page: Page) -> float:
    """Seconds from a photograph that is given to the app to its vessels on the page."""
    picture = io.BytesIO()
    Image.fromarray(phantom.draw(1, 0, 584, 565).image).save(picture, "PNG")
    begin = time.perf_counter()
    page.locator("#file").set_input_files({"name": "eye.png", "mimeType": "image/png", "buffer": picture.getvalue()})
    page.locator("#status", has_text="is mapped").wait_for()
    return time.perf_counter() - begin


def show(out: Path, app: str) -> None:
    """Open both pages in both widths."""
    out.mkdir(parents=True, exist_ok=True)
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        sys.exit(f"error: expected one of {', '.join(BROWSERS)} to be installed, found none")
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=found) as browser:
        for name, (width, height) in WIDTHS.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            took = loaded(page, REPORT.resolve().as_uri())
            print(f"report, {name}: {REPORT.stat().st_size / 1e6:.1f} MB, loaded in {took:.0f} ms")
            page.screenshot(path=out / f"report_{name}.png", full_page=True)
            took = loaded(page, app)
            print(f"app, {name}: {len(page.content()) / 1e3:.0f} kB, loaded in {took:.0f} ms", end="")
            print(f", an eye of 565 x 584 on the page after {map_an_eye(page):.2f} s")
            page.screenshot(path=out / f"app_{name}.png", full_page=True)


def main() -> None:
    """Start the app, and show both pages."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="DIR", help="folder of the screenshots")
    out = parser.parse_args().out
    with subprocess.Popen([sys.executable, "-m", "src.app", "--port", str(PORT)], stdout=subprocess.PIPE) as app:
        app.stdout.readline()  # it says where it is as soon as it answers
        try:
            show(out, f"http://127.0.0.1:{PORT}")
        finally:
            app.terminate()


if __name__ == "__main__":
    main()
