import base64
import io
import re
import socket
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import requests
import uvicorn
from darkness_network import darkness
from PIL import Image

from src.common import probability_levels
from src.data import image_opening, input_validation
from src.inference import hysteresis, image_quality, sliding_window
from src.inference.onnx_model import OnnxModel
from src.serving import package_model, web_app
from src.synthetic import generator

NAME = "an image.png"


@pytest.fixture(scope="module")
def network(packed) -> OnnxModel:
    return OnnxModel(packed)


@pytest.fixture(scope="module")
def upload() -> bytes:
    """A synthetic image as a PNG file."""
    image = generator.generate(seed=1, index=0, height=180, width=200).image
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


@pytest.fixture(scope="module")
def levels(network, upload) -> np.ndarray:
    """The probability that the network itself predicts, (H, W) uint16."""
    image, fov, *_ = input_validation.read_fundus(upload, NAME)
    return probability_levels.to_levels(network.predict(image, fov).probability)


def test_page_has_hysteresis_at_any_threshold(network, upload, tmp_path):
    path = tmp_path / "network.onnx"
    path.write_bytes(package_model.add_settings(darkness(), network.settings._replace(hysteresis_threshold=0.6)))
    changed = OnnxModel(path)
    image, fov, *_ = input_validation.read_fundus(upload, NAME)
    expected = hysteresis.lower_isolated_pieces(network.predict(image, fov).probability, 0.6)
    found = decode(web_app.segment_upload(changed, upload, NAME)["probability"])
    assert np.array_equal(found, probability_levels.to_levels(expected))
    assert (found != decode(web_app.segment_upload(network, upload, NAME)["probability"])).any()


@pytest.fixture(scope="module")
def address(network):
    """The address of the page, on a free port."""
    server = uvicorn.Server(
        uvicorn.Config(web_app.create_app(network), host=web_app.ADDRESS, port=0, log_level="warning")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def post(address, content, **headers):
    return requests.post(
        f"{address}/segment", data=content, headers={"X-Filename": "an%20image.png"} | headers, timeout=60
    )


def decode(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_response_holds_image_and_probability_of_the_network(address, upload, levels):
    result = post(address, upload).json()
    red, green, _ = np.moveaxis(decode(result["maps"]).astype(np.uint16), 2, 0)
    assert (256 * red + green).tolist() == levels.tolist()
    assert decode(result["probability"]).tolist() == levels.tolist()
    assert decode(result["image"]).shape == (180, 200, 3)
    assert (result["width"], result["height"]) == (200, 180)
    assert np.count_nonzero(levels) <= result["fov_pixels"] < levels.size


def test_response_holds_the_quality_flags_of_image_and_file(network, upload):
    two_pages = io.BytesIO()
    page = Image.open(io.BytesIO(upload)).point(lambda level: level // 4)
    page.save(two_pages, "TIFF", save_all=True, append_images=[page])
    flags = web_app.segment_upload(network, two_pages.getvalue(), NAME)["flags"]
    assert {"underexposed", "several_images"} <= flags.keys()
    assert flags.items() <= image_quality.FLAGS.items()


def test_response_holds_the_uncertainty(upload):
    rng = np.random.default_rng(1)
    prediction = sliding_window.Prediction(*rng.random((2, 180, 200), np.float32))
    network = SimpleNamespace(
        predict=lambda image, fov, field_angle: prediction,
        binarize=lambda probability: probability > 0.5,
    )
    result = web_app.segment_upload(network, upload, NAME)
    assert decode(result["maps"])[..., 2] == pytest.approx(255 * prediction.uncertainty, abs=0.51)


@pytest.mark.parametrize("flips", [True, False])
def test_page_offers_the_uncertainty_where_the_network_yields_it(network, upload, flips):
    other = OnnxModel.__new__(OnnxModel)
    other.session, other.settings = network.session, network.settings._replace(tta_flips=flips)
    assert ('value="uncertainty"' in web_app.render_page(other)) is flips
    assert decode(web_app.segment_upload(other, upload, NAME)["maps"])[..., 2].any() == flips


def test_field_angle_enlarges_the_image(network, upload):
    usual, named, wider = (
        web_app.segment_upload(network, upload, NAME, angle)["probability"] for angle in (None, 45.0, 60.0)
    )
    assert usual == named
    assert usual != wider


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_invalid_file_is_rejected_with_a_message_that_names_it(address, content):
    response = post(address, content)
    assert response.status_code == 400
    assert response.json()["error"].startswith("an image.png: expected ")
    assert "0x" not in response.json()["error"]


def test_image_without_a_field_of_view_is_rejected(address):
    response = post(address, cv2.imencode(".png", np.zeros((200, 200, 3), np.uint8))[1].tobytes())
    assert (response.status_code, "expected a field of view" in response.json()["error"]) == (400, True)


def test_image_that_does_not_fit_into_memory_is_rejected(address, network, monkeypatch, upload):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(network, "predict", fail)
    response = post(address, upload)
    assert (response.status_code, response.json()["error"]) == (503, "an image.png: not enough memory to predict it")


def test_file_that_is_too_large_is_rejected(address, monkeypatch, upload):
    monkeypatch.setattr(web_app, "MAX_FILE_MIB", 0)
    response = post(address, upload)
    assert response.status_code == 413
    assert response.json()["error"] == "an image.png: expected a file of at most 0 MiB, got a larger one"


@pytest.mark.parametrize("origin", ["https://example.org", "null", "http://127.0.0.1:1", "http://localhost"])
def test_requests_of_other_origins_are_rejected(address, upload, origin):
    response = post(address, upload, Origin=origin)
    assert response.status_code == 403
    assert "probability" not in response.text


def test_request_of_the_own_origin_is_accepted(address, upload):
    assert post(address, upload, Origin=address).status_code == 200


@pytest.mark.parametrize("path", ["", "segment", "app.js"])
def test_other_host_names_are_rejected(address, path):
    for host in ("example.org", "127.0.0.1.example.org"):
        response = requests.get(f"{address}/{path}", headers={"Host": host}, timeout=60)
        assert response.status_code == 400
        assert web_app.HEADERS.items() <= response.headers.items()


def test_page_loads_nothing_from_other_hosts_and_is_not_cached(address):
    response = requests.get(address, timeout=60)
    assert response.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert not re.search("https?://", response.text)


def test_server_listens_on_the_loopback_address_only(network, monkeypatch, capsys):
    names = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: names.extend(s.getsockname() for s in sockets))
    web_app.run_server(network, 0)
    ((host, port),) = names
    assert host == "127.0.0.1"
    assert capsys.readouterr().out.startswith(f"http://127.0.0.1:{port} ")


@pytest.mark.parametrize("name", web_app.ASSETS)
def test_assets_are_served(address, name):
    response = requests.get(f"{address}/{name}", timeout=60)
    assert (response.status_code, len(response.content) > 0) == (200, True)


def test_port_that_is_taken_ends_with_a_message(packed, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SystemExit, match="2"):
            web_app.main(["--model", str(packed), "--port", str(port)])
    assert f"error: port {port} of 127.0.0.1: Address already in use; --port" in capsys.readouterr().err


def test_port_out_of_range_is_rejected(capsys):
    with pytest.raises(SystemExit, match="2"):
        web_app.main(["--port", "65536"])
    assert "--port: expected a number up to 65535, got 65536" in capsys.readouterr().err


def test_missing_model_ends_with_a_message(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        web_app.main(["--model", str(tmp_path / "none.onnx")])
    assert "none.onnx: missing" in capsys.readouterr().err


def choose(tab, content: bytes, name: str = NAME) -> None:
    """Choose a file, and wait for its result."""
    tab.locator("#file").set_input_files({"name": name, "mimeType": "image/png", "buffer": content})
    tab.locator("#status", has_text=re.compile(r"^$| is segmented\.$")).wait_for(state="attached")


def move_slider(tab, name: str, value: float) -> None:
    """Move a slider, and wait for the view."""
    tab.locator(f"#{name}").evaluate("(slider, value) => { slider.value = value; }", value)
    tab.locator(f"#{name}").dispatch_event("input")
    wait_until_drawn(tab)


def wait_until_drawn(tab) -> None:
    """Sliders draw in the next frame: wait for the one after."""
    tab.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")


COUNT_VESSEL_COLOUR = """() => {
    const view = document.querySelector("#view");
    const canvas = new OffscreenCanvas(view.width, view.height);
    canvas.getContext("2d").drawImage(view, 0, 0);
    const { data } = canvas.getContext("2d").getImageData(0, 0, view.width, view.height);
    const vessel = (i) => data[i] === 0 && data[i + 1] === 229 && data[i + 2] === 255;
    return data.filter((_, i) => i % 4 === 0 && vessel(i)).length;
}"""


def count_vessel_pixels(tab) -> int:
    """Pixels of the view in the colour of vessels."""
    return tab.evaluate(COUNT_VESSEL_COLOUR)


def download(tab, button: str) -> tuple[str, np.ndarray]:
    with tab.expect_download() as event:
        tab.get_by_role("button", name=button).click()
    return event.value.suggested_filename, np.asarray(Image.open(event.value.path()))


def test_page_works_under_its_own_policy(open_tab, address, upload):
    with open_tab() as tab:
        tab.goto(address)
        choose(tab, upload)
        assert re.fullmatch(r"\d+\.\d\d %", tab.locator("#density").inner_text())
        tab.get_by_label("uncertainty").check()
        assert download(tab, "Save vessels")[1].shape[:2] == (180, 200)


DROP = """([name, content]) => {
    const dropped = new DataTransfer();
    dropped.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name));
    const target = document.querySelector("#drop");
    target.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
}"""


def test_page_offers_every_readable_suffix(tab, address):
    tab.goto(address)
    assert tab.locator("#file").get_attribute("accept").split(",") == ["image/*", *image_opening.SUFFIXES]


def test_quality_flags_are_shown_with_their_meaning_until_an_image_has_none(tab, address, upload, monkeypatch):
    tab.goto(address)
    dark = cv2.imencode(".png", cv2.imdecode(np.frombuffer(upload, np.uint8), cv2.IMREAD_COLOR) // 4)[1].tobytes()
    choose(tab, dark, "dark.png")
    assert f"underexposed: {image_quality.FLAGS['underexposed']}" in tab.get_by_role("note").inner_text()
    monkeypatch.setattr(image_quality, "quality_flags", lambda *arguments: [])
    choose(tab, upload)
    assert tab.locator("#flags").is_hidden()
    assert tab.locator("#flag-list").inner_text() == ""


def test_dropped_image_is_segmented_and_announced_to_a_screen_reader(tab, address, upload):
    tab.goto(address)
    tab.evaluate(DROP, [NAME, base64.b64encode(upload).decode()])
    tab.get_by_role("status").filter(has_text=f"{NAME} is segmented.").wait_for()
    assert count_vessel_pixels(tab) == 0  # at the first opacity, none of the pure colour
    assert tab.locator("#density").inner_text() != ""
    tab.get_by_label("uncertainty").check()
    assert tab.get_by_role("img", name="image with its uncertainty").is_visible()


def test_file_that_is_too_large_leaves_the_earlier_result(tab, address, upload):
    tab.goto(address)
    choose(tab, upload)
    tab.evaluate("() => open(new File([new Uint8Array(65 * 2 ** 20)], 'large.png'))")
    assert tab.get_by_role("alert").inner_text() == "large.png: expected a file of at most 64 MiB, got one of 65"
    assert tab.locator("#name").inner_text() == NAME


def test_vessels_follow_threshold_and_opacity(tab, address, upload, levels, network):
    tab.goto(address)
    choose(tab, upload)
    move_slider(tab, "opacity", 1)
    assert count_vessel_pixels(tab) == np.count_nonzero(levels >= np.floor(network.settings.threshold * 65535) + 1) > 0
    for threshold in (0.2, 0.8):
        move_slider(tab, "threshold", threshold)
        count = np.count_nonzero(levels > threshold * 65535)
        assert count_vessel_pixels(tab) == count
        assert tab.locator("#threshold-value").inner_text() == f"{threshold:.3f}"
    move_slider(tab, "opacity", 0)
    assert count_vessel_pixels(tab) == 0
    tab.locator("#reset").click()
    assert tab.locator("#threshold-value").inner_text() == f"{network.settings.threshold:.3f}"


def test_saved_maps_have_the_native_size(tab, address, upload, levels):
    tab.goto(address)
    choose(tab, upload)
    move_slider(tab, "threshold", 0.3)
    name, vessels = download(tab, "Save vessels")
    assert name == "an image_vessels.png"
    assert (vessels[..., 0] == 255).tolist() == (levels > 0.3 * 65535).tolist()
    assert download(tab, "Save probability")[1].tolist() == levels.tolist()
    assert download(tab, "Save image")[1].shape[:2] == (180, 200)


def test_invalid_file_shows_a_message_until_the_next_file(tab, address, upload):
    tab.goto(address)
    with tab.expect_response("**/segment") as response:
        choose(tab, b"no image", "scan.jpg")
    assert response.value.status == 400
    assert tab.get_by_role("alert").inner_text().startswith("scan.jpg: expected ")
    choose(tab, upload)
    assert tab.locator("#error").is_hidden()
    assert tab.locator("#view").is_visible()


def test_every_control_works_by_keyboard(tab, address, upload):
    tab.goto(address)
    choose(tab, upload)
    before = tab.locator("#threshold-value").inner_text()
    tab.locator("#file").focus()
    focused = []
    for _ in range(9):
        focused.append(tab.evaluate("document.activeElement.id || document.activeElement.value"))
        if focused[-1] == "threshold":
            tab.keyboard.press("ArrowRight")
        tab.keyboard.press("Tab")
    expected = ["file", "vessels", "opacity", "threshold", "reset", "save-probability", "save-vessels", "save-view"]
    assert focused[:8] == expected
    wait_until_drawn(tab)
    assert tab.locator("#threshold-value").inner_text() > before


def test_page_fits_a_phone(tab, address, upload):
    tab.set_viewport_size({"width": 360, "height": 740})
    tab.goto(address)
    choose(tab, upload)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
