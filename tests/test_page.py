import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src import layers, page, provenance, report, reported, samples
from src.params import load_params
from stages import report as stage
from tests.test_layers import example
from tests.test_report import results, write_run

F1 = {"01": 0.8, "02": 0.7, "03": np.nan, "04": 0.75}


def per_image(f1=F1, dataset="drive", second=True) -> pd.DataFrame:
    """per_image.csv of the model and, for the first image, of the second observer."""
    named = {"dataset": dataset, "observer": "model"}
    rows = [named | {"id": id_, "group": id_, "f1": value} for id_, value in f1.items()]
    if second:
        rows.append(rows[0] | {"observer": "second_observer", "f1": 0.6})
    return pd.DataFrame([dict.fromkeys(page.OF_AN_IMAGE, 0.5) | {"region": "fov"} | row for row in rows])


def history(validation=True) -> pd.DataFrame:
    """training.csv of two epochs."""
    table = {"epoch": [1, 2]}
    for name in reported.HISTORY:
        table |= {name: [0.2, 0.8], f"validation_{name}": [0.4, 0.6] if validation else [np.nan] * 2}
    return pd.DataFrame(table)


def contents(**changes) -> page.Contents:
    """Four test images, of which three have an F1."""
    table = changes.get("per_image", per_image())
    pictures = layers.of(example())
    given = {
        "per_image": table,
        "history": history(),
        "figures": dict.fromkeys(page.FIGURES, b"png"),
        "eyes": [page.Eye(dataset, id_, pictures) for dataset, id_ in page.chosen(table)],
    }
    return page.Contents(**given | changes)


def text(html: str) -> str:
    """What a reader sees of it, without spaces at its joints."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_all_images_are_shown_where_they_are_few():
    assert page.chosen(per_image()) == [("drive", id_) for id_ in F1]


def test_of_many_images_best_and_worst_are_among_the_shown():
    table = per_image({f"{i:03d}": (i * 37 % 500) / 500 for i in range(500)})
    shown = page.chosen(table)
    assert len(set(shown)) == len(shown) == page.MOST
    f1 = table.set_index("id")["f1"].groupby(level=0).first()
    assert {("drive", f1.idxmin()), ("drive", f1.idxmax())} <= set(shown)


def test_page_says_how_many_of_how_many_are_shown():
    table = per_image({f"{i:03d}": i / 100 for i in range(100)})
    few = page.write(results(), contents())
    many = page.write(results(), contents(per_image=table, eyes=contents().eyes))
    assert "4 of 100 images" in text(many)
    assert "of 4 images" not in text(few)


def test_page_says_what_the_report_says():
    html = text(page.write(results(), contents()))
    for said in ("mean F1 of 0.8000 (95 % interval 0.7500 to 0.8500)", "Sato filter", "metrics/scores.json a1b2",
                 "python 3.11.0", "0.750 to 0.850", "fov_diameter", "the doubt is above 0.1"):  # fmt: skip
        assert said in html
    assert "nan" not in re.sub('data:[^"]*', "", html)


def test_page_asks_for_nothing():
    html = page.write(results(), contents())
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", html)
    assert not re.search(r"https?://|url\(|@import", html)
    assert "default-src 'none'" in html


def test_undefined_score_is_a_dash_and_an_interval_that_is_none_has_no_bar():
    html = page.write(results(), contents())
    assert re.search(r'>03</th>\s*<td class="number">-</td>', html)
    none = results().summary.assign(low=np.nan, high=np.nan)
    assert 'class="bar"' not in page.write(results(summary=none), contents())


def test_names_are_escaped():
    evil = "<script>alert(1)</script>&\"'"
    html = page.write(results(hashes={evil: evil}), contents(per_image=per_image({evil: 0.5})))
    assert evil not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#34;&#39;" in html


def test_html_in_the_report_stays_text():
    assert page._html("a <b onclick='x'> | 1<br>2") == ("<p>a &lt;b onclick='x'&gt; | 1<br>2</p>\n")


def test_learning_curve_spans_its_axes_and_skips_what_is_undefined():
    curve = page._curve(history(), "f1", "F1 score")
    width, height = page.PLOT
    assert curve["lines"] == [
        [(0, height), (width, 0)],
        [(0, pytest.approx(height * 2 / 3, abs=0.1)), (width, pytest.approx(height / 3, abs=0.1))],
    ]
    assert (curve["least"], curve["most"], curve["last"]) == ("0.200", "0.800", ["0.800", "0.600"])
    assert page._curve(history(validation=False), "f1", "F1 score")["lines"][1] == []
    assert "validation</span>" not in page.write(results(), contents(history=history(validation=False)))


def test_set_without_second_observer_has_no_column_for_one():
    assert "F1, second observer" in page.write(results(), contents())
    assert "F1, second observer" not in page.write(results(), contents(per_image=per_image(second=False)))


def write_images(folder: Path) -> tuple[Path, Path]:
    """Test images and predictions of the run that `write_run` writes."""
    test, predictions = folder / "data" / "raw" / "test", folder / "data" / "predictions"
    samples.write_table(test, [("drive", id_, id_) for id_ in F1])
    for id_ in F1:
        eye = example()
        samples.write_eye(test, "drive", samples.Eye(id_, id_, eye.image, eye.truth, eye.fov, None))
        samples.write_probability(predictions / "drive" / f"{id_}.png", eye.probability)
    return test, predictions


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """The page that the stage writes of a run with four test images, twice."""
    folder = tmp_path_factory.mktemp("run")
    metrics, model = write_run(folder)
    history().to_csv(metrics / "training.csv", index=False)
    per_image().assign(tp=1, fp=0, fn=0, tn=1).to_csv(metrics / "per_image.csv", index=False)
    for name in report.FIGURES:
        samples.write_image(metrics / "figures" / f"{name}.png", np.full((300, 700, 3), 255, np.uint8))
    places = metrics, model, *write_images(folder)
    for name in ("one", "two"):
        stage.main(*places, folder / f"{name}.md", folder / f"{name}.html", load_params())
    return folder / "one.html"


@pytest.mark.parametrize("kind", [".md", ".html"])
def test_stage_writes_the_same_bytes_twice_and_names_every_file(written, kind):
    file = written.with_suffix(kind)
    assert file.read_bytes() == file.with_stem("two").read_bytes()
    content = file.read_text(encoding="utf-8")
    metrics = written.parent / "metrics"
    for path in (written.parent / "data" / "model" / "model.h5", *(metrics / name for name in provenance.TABLES)):
        assert path.as_posix() in content
        assert provenance.sha256(path) in content
    assert np.__version__ in content


@pytest.mark.parametrize("name", ["audit", "differences", "doubt", "per_image", "summary", "training"])
def test_stage_names_a_table_that_is_cut_off(tmp_path, name):
    metrics, model = write_run(tmp_path)
    history().to_csv(metrics / "training.csv", index=False)
    per_image().assign(tp=1, fp=0, fn=0, tn=1).to_csv(metrics / "per_image.csv", index=False)
    places = metrics, model, *write_images(tmp_path), tmp_path / "report.md", tmp_path / "report.html"
    (metrics / f"{name}.csv").write_bytes((metrics / f"{name}.csv").read_bytes()[:-12])
    with pytest.raises(ValueError, match=rf"^{metrics}/{name}.csv: expected "):
        stage.main(*places, load_params())


@pytest.fixture
def opened(tab, written):
    """The page in a browser."""
    tab.goto(written.as_uri())
    return tab


def opacities(tab) -> list[float]:
    """Of the four layers of the image that is shown."""
    return tab.locator(".seen .layer").evaluate_all("(layers) => layers.map((layer) => Number(layer.style.opacity))")


def shown(tab) -> str:
    return tab.locator("figure.seen figcaption b").inner_text()


def column(tab, number: int) -> list[str]:
    return tab.locator(f"#per-image tbody tr > :nth-child({number})").all_inner_texts()


def test_page_works_under_its_own_policy(open_tab, written):
    with open_tab() as tab:
        tab.goto(written.as_uri())
        tab.get_by_role("button", name="truth").click()
        assert tab.get_by_role("button", name="truth").get_attribute("aria-pressed") == "true"


def test_slider_leads_from_photograph_to_overlay(opened):
    slider = opened.locator("#layer")
    for place, expected in ((0, [1, 0, 0, 0]), (0.5, [1, 0.5, 0, 0]), (2, [1, 1, 1, 0]), (3, [1, 1, 1, 1])):
        slider.fill(str(place))
        assert opacities(opened) == expected
    opened.get_by_role("button", name="truth").click()
    assert opacities(opened) == [1, 1, 0, 0]
    assert slider.get_attribute("aria-valuetext") == "truth"
    assert opened.locator(".seen .pale").evaluate("(image) => image.naturalWidth") == 80


def test_one_image_is_shown_at_a_time_and_chosen_in_three_ways(opened):
    assert opened.locator("figure.eye:visible").count() == 1
    assert shown(opened) == "drive 01"
    opened.get_by_role("button", name="next image").click()
    assert shown(opened) == "drive 02"
    opened.locator("#image").select_option(label="04")
    assert shown(opened) == "drive 04"
    opened.get_by_role("button", name="03", exact=True).click()
    assert shown(opened) == "drive 03"
    assert opened.locator("figure.eye:visible").count() == 1


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


def test_zoom_enlarges_the_picture_within_its_window(opened):
    before = opened.locator(".seen .stage").bounding_box()["width"]
    opened.locator("#zoom").select_option("4")
    assert opened.locator(".seen .stage").bounding_box()["width"] == pytest.approx(4 * before, abs=4)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 1280


def test_phone_needs_no_scrolling_sideways_with_everything_open(opened):
    opened.set_viewport_size({"width": 360, "height": 740})
    opened.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert opened.evaluate("document.documentElement.scrollWidth") <= 360


def test_pictures_and_table_are_there_without_scripts(browser, written):
    with browser.new_context(java_script_enabled=False) as context:
        page_without = context.new_page()
        page_without.goto(written.as_uri())
        assert page_without.locator("figure.eye:visible").count() == len(F1)
        assert page_without.locator("#layer").is_hidden()
        assert column(page_without, 1) == list(F1)
