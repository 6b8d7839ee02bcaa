"""Measure size and load time of report and app in Chromium: python -m benchmarks.page_load DIR.

Pages are data/report.html of the last `dvc repro` and that of `python -m src app`, which predicts a synthetic image.
Each is loaded at the width of a desktop screen and of a phone; screenshots go to DIR.
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

from src.synthetic import generator

REPORT = Path("data/report.html")
SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PORT = 8765


def load(page: Page, address: str) -> float:
    """Return the milliseconds from request to the end of loading, as the browser counts."""
    page.goto(address)
    return page.evaluate("() => performance.getEntriesByType('navigation')[0].duration")


def predict(page: Page) -> float:
    """Return the seconds from an image that is given to the app to its vessels on the page."""
    content = io.BytesIO()
    Image.fromarray(generator.generate(1, 0, 584, 565).image).save(content, "PNG")
    begin = time.perf_counter()
    page.locator("#file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": content.getvalue()})
    page.locator("#status", has_text="is segmented").wait_for()
    return time.perf_counter() - begin


def measure(out: Path, app: str) -> None:
    """Load both pages at both widths."""
    out.mkdir(parents=True, exist_ok=True)
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        sys.exit(f"error: expected one of {', '.join(BROWSERS)} to be installed, found none")
    print("| page | screen | size | loaded after | image predicted after |\n| --- | --- | --- | --- | --- |")
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=browser_path) as browser:
        for name, (width, height) in SCREENS.items():
            page = browser.new_page(viewport={"width": width, "height": height})
            if REPORT.exists():
                took = load(page, REPORT.resolve().as_uri())
                print(f"| report | {name} | {REPORT.stat().st_size / 1e6:.1f} MB | {took:.0f} ms | - |")
                page.screenshot(path=out / f"report_{name}.png", full_page=True)
            took = load(page, app)
            size = len(page.content()) / 1e3
            print(f"| app | {name} | {size:.0f} kB | {took:.0f} ms | {predict(page):.2f} s |", flush=True)
            page.screenshot(path=out / f"app_{name}.png", full_page=True)


def main() -> None:
    """Start the app, and measure both pages."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page_load", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="DIR", help="folder of the screenshots")
    out = parser.parse_args().out
    command = [sys.executable, "-m", "src", "app", "--port", str(PORT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as app:
        if app.stdout:
            app.stdout.readline()  # its address, as soon as it serves
        try:
            measure(out, f"http://127.0.0.1:{PORT}")
        finally:
            app.terminate()


if __name__ == "__main__":
    main()
