import base64
import io
import re
import socket
import sys
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import requests
import uvicorn
from PIL import Image

from src import app, intake, phantom, predictor, samples
from src.exported import Exported

NAME = "an eye.png"


@pytest.fixture(scope="module")
def network(packed) -> Exported:
    return Exported(packed)


@pytest.fixture(scope="module")
def photograph() -> bytes:
    """A drawn photograph as a PNG file."""
    image = phantom.draw(seed=1, index=0, height=180, width=200).image
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


@pytest.fixture(scope="module")
def levels(network, photograph) -> np.ndarray:
    """The map of the photograph by the engine itself, (H, W) uint16."""
    image = intake.photograph(photograph, NAME)
    return samples.to_levels(network.maps(image, intake.field_of_view(None, image, NAME)).probability)


@pytest.fixture(scope="module")
def address(network):
    """Where the page is served, on a port that was free."""
    server = uvicorn.Server(uvicorn.Config(app.application(network), host=app.ADDRESS, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def post(address, content, **headers):
    return requests.post(f"{address}/map", data=content, headers={"X-Name": "an%20eye.png"} | headers, timeout=60)


def picture(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_answer_is_the_map_of_the_engine_and_the_photograph(address, photograph, levels):
    answer = post(address, photograph).json()
    red, green, _ = np.moveaxis(picture(answer["levels"]).astype(np.uint16), 2, 0)
    assert (256 * red + green).tolist() == levels.tolist()
    assert picture(answer["probability"]).tolist() == levels.tolist()
    assert picture(answer["photograph"]).shape == (180, 200, 3)
    assert (answer["width"], answer["height"]) == (200, 180)
    assert np.count_nonzero(levels) <= answer["fov"] < levels.size


def test_answer_holds_the_doubt(photograph):
    rng = np.random.default_rng(1)
    maps = predictor.Maps(*rng.random((2, 180, 200), np.float32))
    answer = app.answer(SimpleNamespace(maps=lambda image, fov: maps), photograph, NAME)
    assert picture(answer["levels"])[..., 2] == pytest.approx(255 * maps.doubt, abs=0.51)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_broken_file_is_refused_with_a_sentence_that_names_it(address, content):
    response = post(address, content)
    assert response.status_code == 400
    assert response.json()["error"].startswith("an eye.png: expected a whole picture")
    assert "0x" not in response.json()["error"]


def test_picture_without_an_eye_is_refused(address):
    response = post(address, cv2.imencode(".png", np.zeros((200, 200, 3), np.uint8))[1].tobytes())
    assert (response.status_code, "expected a field of view" in response.json()["error"]) == (400, True)


def test_file_that_is_too_large_is_refused(address, monkeypatch, photograph):
    monkeypatch.setattr(app, "LARGEST_FILE", 0)
    response = post(address, photograph)
    assert response.status_code == 413
    assert response.json()["error"] == "an eye.png: expected a file of at most 0 MiB, got a larger one"


@pytest.mark.parametrize("origin", ["https://example.org", "null", "http://127.0.0.1:1", "http://localhost"])
def test_other_origins_are_refused(address, photograph, origin):
    response = post(address, photograph, Origin=origin)
    assert response.status_code == 403
    assert "probability" not in response.text


def test_own_origin_is_answered(address, photograph):
    assert post(address, photograph, Origin=address).status_code == 200


@pytest.mark.parametrize("path", ["", "map", "app.js"])
def test_other_names_of_this_machine_are_refused(address, path):
    for host in ("example.org", "127.0.0.1.example.org"):
        assert requests.get(f"{address}/{path}", headers={"Host": host}, timeout=60).status_code == 400


def test_page_loads_nothing_from_elsewhere_and_is_not_kept(address):
    response = requests.get(address, timeout=60)
    assert response.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert not re.search("https?://", response.text)


def test_port_is_of_this_machine_alone(network, monkeypatch, capsys):
    names = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: names.extend(s.getsockname() for s in sockets))
    app.serve(network, 0)
    ((host, port),) = names
    assert host == "127.0.0.1"
    assert capsys.readouterr().out.startswith(f"http://127.0.0.1:{port} ")


def test_port_that_is_taken_ends_with_a_sentence(packed, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["app", "--model", str(packed), "--port", str(port)])
        with pytest.raises(SystemExit, match=f"error: port {port} of 127.0.0.1: Address already in use; `--port`"):
            app.main()


def test_port_that_cannot_be_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["app", "--port", "65536"])
    with pytest.raises(SystemExit):
        app.main()
    assert "--port: expected a number up to 65535, got 65536" in capsys.readouterr().err


def test_missing_model_ends_with_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["app", "--model", str(tmp_path / "none.onnx")])
    with pytest.raises(SystemExit, match=r"error: .*none\.onnx: missing"):
        app.main()


def give(tab, content: bytes, name: str = NAME) -> None:
    """Choose a file, and wait for the answer."""
    tab.locator("#file").set_input_files({"name": name, "mimeType": "image/png", "buffer": content})
    tab.locator("#status", has_text=re.compile(r"^$| is mapped\.$")).wait_for(state="attached")


def turn(tab, name: str, value: float) -> None:
    """Move a slider, and wait for the picture."""
    tab.locator(f"#{name}").evaluate("(slider, value) => { slider.value = value; }", value)
    tab.locator(f"#{name}").dispatch_event("input")
    wait_until_drawn(tab)


def wait_until_drawn(tab) -> None:
    """Sliders draw in the next frame: wait for the one after."""
    tab.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")


COLOURED = """() => {
    const view = document.querySelector("#view");
    const canvas = new OffscreenCanvas(view.width, view.height);
    canvas.getContext("2d").drawImage(view, 0, 0);
    const { data } = canvas.getContext("2d").getImageData(0, 0, view.width, view.height);
    const vessel = (i) => data[i] === 0 && data[i + 1] === 229 && data[i + 2] === 255;
    return data.filter((_, i) => i % 4 === 0 && vessel(i)).length;
}"""


def coloured(tab) -> int:
    """Pixels of the picture in the colour of a vessel."""
    return tab.evaluate(COLOURED)


def saved(tab, button: str) -> tuple[str, np.ndarray]:
    with tab.expect_download() as download:
        tab.get_by_role("button", name=button).click()
    return download.value.suggested_filename, np.asarray(Image.open(download.value.path()))


def test_page_works_under_its_own_policy(open_tab, address, photograph):
    with open_tab() as tab:
        tab.goto(address)
        give(tab, photograph)
        assert re.fullmatch(r"\d+\.\d\d %", tab.locator("#density").inner_text())
        tab.get_by_label("doubt").check()
        assert saved(tab, "Save vessels")[1].shape[:2] == (180, 200)


DROP = """([name, content]) => {
    const dropped = new DataTransfer();
    dropped.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name));
    const target = document.querySelector("#drop");
    target.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
}"""


def test_photograph_that_is_dropped_is_mapped_and_a_screen_reader_told(tab, address, photograph):
    tab.goto(address)
    tab.evaluate(DROP, [NAME, base64.b64encode(photograph).decode()])
    tab.get_by_role("status").filter(has_text=f"{NAME} is mapped.").wait_for()
    assert coloured(tab) == 0  # at the first opacity, none of the pure colour
    assert tab.locator("#density").inner_text() != ""
    tab.get_by_label("doubt").check()
    assert tab.get_by_role("img", name="photograph with its doubt").is_visible()


def test_file_that_is_too_large_leaves_the_one_before_it(tab, address, photograph):
    tab.goto(address)
    give(tab, photograph)
    tab.evaluate("() => open(new File([new Uint8Array(65 * 2 ** 20)], 'large.png'))")
    assert tab.get_by_role("alert").inner_text() == "large.png: expected a file of at most 64 MiB, got one of 65"
    assert tab.locator("#name").inner_text() == NAME


def test_vessels_follow_threshold_and_opacity(tab, address, photograph, levels, network):
    tab.goto(address)
    give(tab, photograph)
    turn(tab, "opacity", 1)
    assert coloured(tab) == np.count_nonzero(levels >= np.floor(network.settings.threshold * 65535) + 1) > 0
    for threshold in (0.2, 0.8):
        turn(tab, "threshold", threshold)
        count = np.count_nonzero(levels > threshold * 65535)
        assert coloured(tab) == count
        assert tab.locator("#threshold-said").inner_text() == f"{threshold:.3f}"
    turn(tab, "opacity", 0)
    assert coloured(tab) == 0
    tab.locator("#reset").click()
    assert tab.locator("#threshold-said").inner_text() == f"{network.settings.threshold:.3f}"


def test_saved_maps_have_the_size_of_the_photograph(tab, address, photograph, levels):
    tab.goto(address)
    give(tab, photograph)
    turn(tab, "threshold", 0.3)
    name, vessels = saved(tab, "Save vessels")
    assert name == "an eye_vessels.png"
    assert (vessels[..., 0] == 255).tolist() == (levels > 0.3 * 65535).tolist()
    assert saved(tab, "Save probability")[1].tolist() == levels.tolist()
    assert saved(tab, "Save picture")[1].shape[:2] == (180, 200)


def test_broken_file_shows_a_sentence_and_the_next_one_clears_it(tab, address, photograph):
    tab.goto(address)
    with tab.expect_response("**/map") as response:
        give(tab, b"no picture", "scan.jpg")
    assert response.value.status == 400
    assert tab.get_by_role("alert").inner_text().startswith("scan.jpg: expected a whole picture")
    give(tab, photograph)
    assert tab.locator("#error").is_hidden()
    assert tab.locator("#view").is_visible()


def test_keyboard_reaches_and_moves_everything(tab, address, photograph):
    tab.goto(address)
    give(tab, photograph)
    before = tab.locator("#threshold-said").inner_text()
    tab.locator("#file").focus()
    seen = []
    for _ in range(9):
        seen.append(tab.evaluate("document.activeElement.id || document.activeElement.value"))
        if seen[-1] == "threshold":
            tab.keyboard.press("ArrowRight")
        tab.keyboard.press("Tab")
    expected = ["file", "vessels", "opacity", "threshold", "reset", "save-probability", "save-vessels", "save-view"]
    assert seen[:8] == expected
    wait_until_drawn(tab)
    assert tab.locator("#threshold-said").inner_text() > before


def test_phone_needs_no_scrolling_sideways(tab, address, photograph):
    tab.set_viewport_size({"width": 360, "height": 740})
    tab.goto(address)
    give(tab, photograph)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
