"""Write the screenshots of the documentation: python -m tools.make_screenshots.

docs/images gets report.jpg, of data/report.html; web_app.jpg, of `python -m src app`; and mlflow.png, of `mlflow ui`
with the runs in mlflow.db. Run it after `dvc repro` and experiments on the synthetic data set alone. Needs Chromium.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, FloatRect, Page, ViewportSize, sync_playwright

from tools.make_pictures import FOLDER, SAMPLE

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
VIEW: ViewportSize = {"width": 560, "height": 1000}  # pixels: text stays legible on a phone
QUALITY = 75  # of JPEG
SECONDS = 120  # that a server may need to start
COLUMNS = ("phantom.f1", "validation.f1")  # of MLflow's table
CHECKBOXES, TABLE_WIDTH, TABLE_HEIGHT = 76, 618, 193  # pixels of that table: left out, and shown
STORED = "MLflowLocalStorage-1.1-"  # how MLflow's page names what it stores
PHANTOM = "5004"  # the synthetic test image that is shown


def main() -> None:
    """Write them."""
    program = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if program is None:
        sys.exit(f"expected one of {', '.join(CHROMIUMS)} on the PATH")
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=program) as browser:
        report(browser)
        web_app(browser)
        runs(browser)


def report(browser: Browser) -> None:
    """Show the overlay of a test image in the HTML report."""
    page = browser.new_page(viewport=VIEW)
    page.goto(Path("data/report.html").resolve().as_uri())
    page.locator("#image").select_option(label=PHANTOM)
    page.locator(".layer-buttons button[value='3']").click()
    page.locator("#images").evaluate("element => element.scrollIntoView()")
    write(page, "report")


def web_app(browser: Browser) -> None:
    """Show the sample image with its vessels on the page of `python -m src app`."""
    page = browser.new_page(viewport=VIEW)
    with serving("-m", "src", "app") as address:
        page.goto(address)
        page.locator("#file").set_input_files(SAMPLE)
        page.locator("#result").wait_for(timeout=1000 * SECONDS)
        write(page, "web_app")


def runs(browser: Browser) -> None:
    """Show MLflow's table of runs, with COLUMNS and without its assistant and sidebar."""
    page = browser.new_page(viewport={"width": 860, "height": 560})
    chosen = json.dumps(json.dumps({"selectedColumns": [f"metrics.`{name}`" for name in COLUMNS]}))
    page.add_init_script(
        f"""localStorage["{STORED}ExperimentPage-[\\"1\\"]-ReactComponentState"] = {chosen};
        localStorage["mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"] = true;
        localStorage["mlflow.assistant.panelOpen_v1"] = false;"""
    )
    with serving("-m", "mlflow", "ui", "--backend-store-uri", "sqlite:///mlflow.db", "--workers", "1") as address:
        page.goto(f"{address}/#/experiments/1/runs")
        page.get_by_role("button", name="Toggle sidebar").click(timeout=1000 * SECONDS)
        table = page.locator(".ag-root-wrapper")
        table.get_by_text(COLUMNS[0]).wait_for(timeout=1000 * SECONDS)
        page.wait_for_timeout(5000)  # the page asks its server on and on
        box = table.bounding_box() or {"x": 0, "y": 0}
        clip: FloatRect = {"x": box["x"] + CHECKBOXES, "y": box["y"], "width": TABLE_WIDTH, "height": TABLE_HEIGHT}
        page.screenshot(path=FOLDER / "mlflow.png", clip=clip)


def write(page: Page, name: str) -> None:
    """Write what a page shows when its images are loaded."""
    page.wait_for_load_state("networkidle")
    page.screenshot(path=FOLDER / f"{name}.jpg", quality=QUALITY, type="jpeg")


@contextlib.contextmanager
def serving(*command: str) -> Iterator[str]:
    """Run a server on a free port within the block, and give its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, *command, "--port", str(port)])
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
