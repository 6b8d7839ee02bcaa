import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.common import atomic_io, hashing, provenance
from src.data import samples
from src.params import load_params
from src.reporting import figure_texts, html_report, image_layers
from stages import report as stage
from tests.reporting import example_run
from tests.reporting.example_run import history, predicted_image, results, write_metrics, write_test_images

F1 = {"01": 0.8, "02": 0.7, "03": np.nan, "04": 0.75}


def per_image(f1=F1, second_observer=True):
    """per_image.csv of the model and, for the first image, of the second observer."""
    tables = [example_run.per_image(f1)]
    if second_observer:
        tables.append(example_run.per_image({"01": 0.6}, observer="second_observer"))
    return pd.concat(tables)


def contents(**changes) -> html_report.ReportContents:
    """Four test images, of which three have an F1."""
    table = changes.get("per_image", per_image())
    layers = image_layers.encode_layers(predicted_image())
    given = {
        "per_image": table,
        "history": history(epochs=2),
        "figures": dict.fromkeys(html_report.FIGURES, b"png"),
        "images": [html_report.ReportImage(*name, layers) for name in html_report.select_images(table)],
    }
    return html_report.ReportContents(**given | changes)


def text(html: str) -> str:
    """What a reader sees of it, without spaces at its joints."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_all_images_are_shown_where_they_are_few():
    assert html_report.select_images(per_image()) == [("drive", id_) for id_ in F1]


def test_of_many_images_best_and_worst_are_among_the_shown():
    table = per_image({f"{i:03d}": (i * 37 % 500) / 500 for i in range(500)})
    shown = html_report.select_images(table)
    assert len(set(shown)) == len(shown) == html_report.MAX_IMAGES
    f1 = table.set_index("id")["f1"].groupby(level=0).first()
    assert {("drive", f1.idxmin()), ("drive", f1.idxmax())} <= set(shown)


def test_report_says_how_many_of_how_many_are_shown():
    table = per_image({f"{i:03d}": i / 100 for i in range(100)})
    few = html_report.render_html(results(), contents())
    many = html_report.render_html(results(), contents(per_image=table, images=contents().images))
    assert "4 of 100 images" in text(many)
    assert "of 4 images" not in text(few)


def test_html_says_what_the_markdown_says():
    html = text(html_report.render_html(results(), contents()))
    for said in ("F1 0.8000 (95 % interval 0.7500 to 0.8500)", "Sato filter", "metrics/scores.json a1b2",
                 "python 3.11.0", "0.750 to 0.850", "fov_diameter", "uncertainty is above 0.1"):  # fmt: skip
        assert said in html
    assert "nan" not in re.sub('data:[^"]*', "", html)


def test_report_asks_for_nothing():
    html = html_report.render_html(results(), contents())
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", html)
    assert not re.search(r"https?://|url\(|@import", html)
    assert "default-src 'none'" in html


def test_undefined_score_is_a_dash_and_an_interval_that_is_none_has_no_bar():
    html = html_report.render_html(results(), contents())
    assert re.search(r'>03</th>\s*<td class="number">-</td>', html)
    none = results().summary.assign(low=np.nan, high=np.nan)
    assert 'class="bar"' not in html_report.render_html(results(summary=none), contents())


def test_names_are_escaped():
    evil = "<script>alert(1)</script>&\"'"
    html = html_report.render_html(results(hashes={evil: evil}), contents(per_image=per_image({evil: 0.5})))
    assert evil not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#34;&#39;" in html


def test_html_in_the_report_stays_text():
    assert html_report._to_html("a <b onclick='x'> | 1<br>2") == ("<p>a &lt;b onclick='x'&gt; | 1<br>2</p>\n")


def test_learning_curve_spans_its_axes_and_skips_what_is_undefined():
    curve = html_report._curve(history(epochs=2), "f1", "F1 score")
    width, height = html_report.CURVE_SIZE
    assert curve["lines"] == [
        [(0, height), (width, 0)],
        [(0, pytest.approx(height * 2 / 3, abs=0.1)), (width, pytest.approx(height / 3, abs=0.1))],
    ]
    assert (curve["lowest"], curve["highest"], curve["last"]) == ("0.200", "0.800", ["0.800", "0.600"])
    assert html_report._curve(history(epochs=2, validation=False), "f1", "F1 score")["lines"][1] == []
    undefined = history(epochs=2, validation=False).assign(precision=np.nan)
    assert html_report._curve(undefined, "precision", "Precision")["lines"] == [[], []]
    assert "validation</span>" not in html_report.render_html(
        results(), contents(history=history(epochs=2, validation=False))
    )


def test_set_without_second_observer_has_no_column_for_one():
    assert "F1, second observer" in html_report.render_html(results(), contents())
    assert "F1, second observer" not in html_report.render_html(
        results(), contents(per_image=per_image(second_observer=False))
    )


def write_run(folder: Path) -> list[Path]:
    """Write what the stage reads; its paths."""
    metrics, model, test, predictions = (folder / name for name in ("metrics", "model.h5", "test", "predictions"))
    write_metrics(metrics, F1)
    write_test_images(test, predictions, list(F1))
    atomic_io.write_text(model, "weights")
    for name in figure_texts.FIGURES:
        samples.write_image(metrics / "figures" / f"{name}.png", np.full((300, 700, 3), 255, np.uint8))
    return [metrics, model, test, predictions]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """The HTML report that the stage writes of a run with four test images, twice."""
    folder = tmp_path_factory.mktemp("run")
    paths = write_run(folder)
    for name in ("one", "two"):
        stage.main(*paths, folder / f"{name}.md", folder / f"{name}.html", load_params())
    return folder / "one.html"


@pytest.mark.parametrize("kind", [".md", ".html"])
def test_stage_writes_the_same_bytes_twice_and_names_every_file(written, kind):
    file = written.with_suffix(kind)
    assert file.read_bytes() == file.with_stem("two").read_bytes()
    content = file.read_text(encoding="utf-8")
    metrics = written.parent / "metrics"
    for path in (
        written.parent / "model.h5",
        *(metrics / name for name in provenance.RESULT_TABLES),
    ):
        assert path.as_posix() in content
        assert hashing.sha256(path) in content
    assert np.__version__ in content


@pytest.mark.parametrize("name", ["audit", "differences", "uncertainty", "per_image", "summary", "training"])
def test_stage_names_a_table_that_is_cut_off(tmp_path, name):
    paths, table = write_run(tmp_path), tmp_path / "metrics" / f"{name}.csv"
    table.write_bytes(table.read_bytes()[:-12])
    with pytest.raises(ValueError, match=rf"^{table}: expected "):
        stage.main(*paths, tmp_path / "report.md", tmp_path / "report.html", load_params())


@pytest.fixture
def opened(tab, written):
    """The report in a browser."""
    tab.goto(written.as_uri())
    return tab


def opacities(tab) -> list[float]:
    """Of the four layers of the image that is shown."""
    return tab.locator(".selected .layer").evaluate_all(
        "(layers) => layers.map((layer) => Number(layer.style.opacity))"
    )


def shown(tab) -> str:
    return tab.locator("figure.selected figcaption b").inner_text()


def column(tab, number: int) -> list[str]:
    return tab.locator(f"#per-image tbody tr > :nth-child({number})").all_inner_texts()


def test_report_works_under_its_own_policy(open_tab, written):
    with open_tab() as tab:
        tab.goto(written.as_uri())
        tab.get_by_role("button", name="ground truth").click()
        assert tab.get_by_role("button", name="ground truth").get_attribute("aria-pressed") == "true"


def test_slider_fades_from_image_to_overlay(opened):
    slider = opened.locator("#layer")
    for place, expected in ((0, [1, 0, 0, 0]), (0.5, [1, 0.5, 0, 0]), (2, [1, 1, 1, 0]), (3, [1, 1, 1, 1])):
        slider.fill(str(place))
        assert opacities(opened) == expected
    opened.get_by_role("button", name="ground truth").click()
    assert opacities(opened) == [1, 1, 0, 0]
    assert slider.get_attribute("aria-valuetext") == "ground truth"
    assert opened.locator(".selected .background").evaluate("(image) => image.naturalWidth") == 80


def test_one_image_is_shown_at_a_time_and_chosen_in_three_ways(opened):
    assert opened.locator("figure.example:visible").count() == 1
    assert shown(opened) == "drive 01"
    opened.get_by_role("button", name="next image").click()
    assert shown(opened) == "drive 02"
    opened.locator("#image").select_option(label="04")
    assert shown(opened) == "drive 04"
    opened.get_by_role("button", name="03", exact=True).click()
    assert shown(opened) == "drive 03"
    assert opened.locator("figure.example:visible").count() == 1


def test_table_sorts_both_ways_and_undefined_scores_stay_last(opened):
    heading = opened.locator("#per-image thead button", has_text="F1").first
    heading.click()
    assert column(opened, 2) == ["0.700", "0.750", "0.800", "-"]
    assert column(opened, 1) == ["02", "04", "01", "03"]
    heading.click()
    assert column(opened, 2) == ["0.800", "0.750", "0.700", "-"]
    assert opened.locator("#per-image th[aria-sort]").all_inner_texts() == ["F1"]


def test_keyboard_moves_slider_chooses_and_sorts(opened):
    opened.locator("#layer").focus()
    opened.keyboard.press("End")
    assert opacities(opened) == [1, 1, 1, 1]
    opened.keyboard.press("ArrowLeft")
    assert opacities(opened) == [1, 1, 1, pytest.approx(0.95)]
    opened.locator("#next").focus()
    opened.keyboard.press("Enter")
    assert shown(opened) == "drive 02"
    opened.locator("#per-image thead button").nth(1).focus()
    opened.keyboard.press("Space")
    assert column(opened, 1) == ["02", "04", "01", "03"]


def test_zoom_enlarges_the_image_within_its_viewport(opened):
    before = opened.locator(".selected .layers").bounding_box()["width"]
    opened.locator("#zoom").select_option("4")
    assert opened.locator(".selected .layers").bounding_box()["width"] == pytest.approx(4 * before, abs=4)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 1280


def test_phone_needs_no_scrolling_sideways_with_everything_open(opened):
    opened.set_viewport_size({"width": 390, "height": 844})
    opened.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390


def test_images_and_table_are_there_without_scripts(browser, written):
    with browser.new_context(java_script_enabled=False) as context:
        without_scripts = context.new_page()
        without_scripts.goto(written.as_uri())
        assert without_scripts.locator("figure.example:visible").count() == len(F1)
        assert without_scripts.locator("#layer").is_hidden()
        assert column(without_scripts, 1) == list(F1)
