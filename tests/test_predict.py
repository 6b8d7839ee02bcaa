import csv
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import prediction
from src import counts, phantom, predict, results, samples

EYE = phantom.draw(1, 0, 240, 230)
ROOT = Path(__file__).parents[1]


@pytest.fixture
def call(packed, monkeypatch, capsys):
    """Runs the command in this process: exit code, stdout and stderr."""

    def called(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments), "--model", str(packed)])
        try:
            code = predict.main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return called


@pytest.fixture
def eye(tmp_path) -> Path:
    path = tmp_path / "eyes" / "eye.png"
    path.parent.mkdir()
    Image.fromarray(EYE.image).save(path)
    return path


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "photographs.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def names(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()} - {".lock"}


def test_photograph_becomes_maps_of_its_size_and_a_row(call, eye, tmp_path):
    code, said, _ = call(eye, "--out", tmp_path / "out")
    assert (code, said) == (0, f"1 predicted, 0 done before, 0 refused: {tmp_path / 'out' / 'photographs.csv'}\n")
    assert names(tmp_path / "out") == {"photographs.csv", *(f"eye_{kind}.png" for kind in results.KINDS)}
    levels = samples.read_levels(tmp_path / "out" / "eye_probability.png")
    vessels = samples.read_bool(tmp_path / "out" / "eye_vessels.png")
    assert np.array_equal(vessels, levels > 0.25 * 65535)
    assert counts.dice(counts.count(EYE.truth, vessels, EYE.fov)) > 0.5
    assert samples.read_levels(tmp_path / "out" / "eye_doubt.png").max() > 0
    drawn = samples.read_image(tmp_path / "out" / "eye_overlay.png")
    assert np.array_equal(drawn[~vessels], EYE.image[~vessels])
    assert (drawn[vessels] != EYE.image[vessels]).any(axis=1).mean() > 0.99
    row = rows(tmp_path / "out")["eye"]
    assert (row["status"], row["width"], row["height"], row["reason"]) == ("done", "230", "240", "")
    assert float(row["vessel_density"]) == pytest.approx(vessels.sum() / EYE.fov.sum(), rel=0.02)
    assert 0 < float(row["mean_doubt"]) < 1


def test_without_flips_there_is_no_doubt_and_an_earlier_one_goes(call, eye, tmp_path):
    call(eye, "--out", tmp_path / "out")
    assert call(eye, "--out", tmp_path / "out", "--no-flips")[0] == 0
    assert names(tmp_path / "out") == {"photographs.csv", *(f"eye_{kind}.png" for kind in results.KINDS[:3])}
    assert rows(tmp_path / "out")["eye"]["mean_doubt"] == ""


def test_what_is_done_is_not_done_again(call, eye, tmp_path):
    call(eye, "--out", tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    assert call(eye, "--out", tmp_path / "out")[1].startswith("0 predicted, 1 done before")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")} == before


@pytest.mark.parametrize("change", ["photograph", "threshold", "flips", "file gone"])
def test_what_has_changed_is_done_again(call, eye, tmp_path, change):
    out = tmp_path / "out"
    call(eye, "--out", out)
    more = {"threshold": ["--threshold", "0.5"], "flips": ["--no-flips"]}.get(change, [])
    if change == "photograph":
        Image.fromarray(EYE.image[::-1]).save(eye)
    if change == "file gone":
        (out / "eye_overlay.png").unlink()
    assert call(eye, "--out", out, *more)[1].startswith("1 predicted, 0 done before")
    assert (out / "eye_overlay.png").exists()


def test_photograph_that_breaks_takes_its_old_results_along(call, eye, tmp_path):
    call(eye, "--out", tmp_path / "out")
    eye.write_bytes(eye.read_bytes()[:1000])
    code, _, said = call(eye, "--out", tmp_path / "out")
    assert code == 1
    assert f"refused: {eye}: expected a whole picture" in said
    assert names(tmp_path / "out") == {"photographs.csv"}
    row = rows(tmp_path / "out")["eye"]
    assert (row["status"], row["width"]) == ("refused", "")
    assert row["reason"].startswith(f"{eye}: expected a whole picture")


def test_photograph_that_cannot_be_read_for_once_keeps_its_results(call, eye, tmp_path, monkeypatch):
    call(eye, "--out", tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with monkeypatch.context() as context:
        context.setattr(Path, "read_bytes", denied(eye.resolve(), Path.read_bytes))
        code, _, said = call(eye, "--out", tmp_path / "out")
    assert (code, f"refused: {eye}: cannot be read (Permission denied); its earlier results stay" in said) == (1, True)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert call(eye, "--out", tmp_path / "out")[1].startswith("0 predicted, 1 done before")


def denied(path: Path, read):
    """Path.read_bytes that may not read this one."""

    def reading(self):
        if self == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read(self)

    return reading


def test_photograph_that_ends_the_process_is_refused_at_last(call, eye, tmp_path, packed):
    """As where the memory does not suffice and the system kills."""
    program = (
        "import os, signal, sys; from src import predict, results; "
        "results.Segmenter.segment = lambda *_: os.kill(os.getpid(), signal.SIGKILL); sys.exit(predict.main())"
    )
    given = [sys.executable, "-c", program, str(eye), "--out", str(tmp_path / "out"), "--model", str(packed)]
    codes = [subprocess.run(given, cwd=ROOT, capture_output=True).returncode for _ in range(predict.TRIES + 1)]
    assert codes == [-9] * predict.TRIES + [1]
    row = rows(tmp_path / "out")["eye"]
    assert (row["status"], row["reason"]) == ("refused", f"{eye}: its prediction ended the process 2 times")
    assert call(eye, "--out", tmp_path / "out")[1].startswith("1 predicted")


def test_photograph_that_does_not_fit_into_memory_is_refused_by_name(call, eye, tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(results.Segmenter, "segment", fail)
    code, _, said = call(eye, "--out", tmp_path / "out")
    assert (code, f"refused: {eye}: there is not the memory to predict it" in said) == (1, True)


def test_table_of_an_earlier_version_whose_writer_was_killed_is_gone_on_with(call, eye, tmp_path):
    call(eye, "--out", tmp_path / "out")
    table = tmp_path / "out" / "photographs.csv"
    header, row = csv.reader(table.read_text(encoding="utf-8").splitlines())
    cells = dict(zip(header, row, strict=True)) | {"status": "begun", "reason": ""}
    table.write_text(f"{','.join(header)}\n{','.join(cells.values())}\n", encoding="utf-8")
    assert call(eye, "--out", tmp_path / "out")[1].startswith("1 predicted")


def test_photograph_at_which_a_person_stops_is_not_blamed(call, eye, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(results.Segmenter, "segment", stop)
        assert [call(eye, "--out", tmp_path / "out")[0] for _ in range(predict.TRIES + 1)] == [130] * 3
    assert call(eye, "--out", tmp_path / "out")[1].startswith("1 predicted")


def test_photographs_of_one_name_do_not_overwrite_each_other(call, eye, tmp_path):
    out, other = tmp_path / "out", tmp_path / "others" / "eye.png"
    call(eye, "--out", out)
    shutil.copytree(eye.parent, other.parent)
    Image.fromarray(EYE.image[::-1]).save(other)
    assert call(eye.parent, other.parent, "--out", out)[1].startswith("1 predicted, 1 done before")
    first, second = rows(out).values()
    assert {first["id"], second["id"]} > {"eye"}
    assert len(names(out)) == 9
    maps = [samples.read_levels(out / f"{row['id']}_probability.png") for row in (first, second)]
    np.testing.assert_allclose(maps[0][::-1], maps[1], atol=200)


@pytest.mark.parametrize("suffix", list(prediction.FORMATS))
def test_every_format_gives_the_map_of_the_same_photograph(call, tmp_path, suffix):
    (tmp_path / f"eye{suffix}").write_bytes(prediction.FORMATS[suffix](EYE.image))
    (tmp_path / "plain.png").write_bytes(prediction.FORMATS[".png"](EYE.image))
    assert call(tmp_path / f"eye{suffix}", tmp_path / "plain.png", "--out", tmp_path / "out", "--no-flips")[0] == 0
    maps = [samples.read_levels(path) / 65535 for path in sorted((tmp_path / "out").glob("*_probability.png"))]
    assert maps[0].shape == maps[1].shape
    assert np.abs(maps[0] - maps[1]).mean() < (0.02 if "jpg" in suffix else 1e-6)


def test_a_folder_of_which_some_is_broken_killed_and_resumed(packed, call, tmp_path):
    photographs, out = tmp_path / "photographs", tmp_path / "out"
    prediction.mixed(photographs, 40, broken=10)
    left = prediction.killed_after(prediction.command(photographs, out, packed, "--no-flips"), out, rows=8)
    assert 8 <= left < 40
    code, said, named = call(photographs, "--out", out, "--no-flips")
    assert code == 1
    assert ", 10 refused" in said
    assert named.count("refused: ") == 10
    found = list(rows(out).values())
    assert len(found) == len({row["id"] for row in found}) == 40
    assert sum(row["status"] == "done" for row in found) == 30
    for row in found:
        there = [(out / f"{row['id']}_{kind}.png").exists() for kind in results.KINDS[:3]]
        assert there == [row["status"] == "done"] * 3
        if row["status"] == "refused":
            assert row["reason"].startswith(f"{row['photograph']}: ")
            assert Path(row["photograph"]).name[4] == "_"
    assert call(photographs, "--out", out, "--no-flips")[1].startswith("0 predicted, 30 done before, 10 refused")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.png"], "none.png: expected a file, a folder with pictures"),
        (["--threshold", "1.5"], "expected a number between 0 and 1, got 1.5"),
        (["--threads", "0"], "expected a number of at least 1, got 0"),
    ],
)
def test_wrong_use_is_one_sentence(call, eye, tmp_path, arguments, said):
    code, _, error = call(eye, *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert said in error.splitlines()[-1]


def test_missing_model_is_one_sentence(eye, tmp_path, monkeypatch, capsys):
    arguments = ["predict", str(eye), "--out", str(tmp_path / "out"), "--model", str(tmp_path / "none.onnx")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match="2"):
        predict.main()
    assert "none.onnx: missing" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_second_command_on_the_same_folder_is_refused(call, eye, tmp_path):
    (tmp_path / "out").mkdir()
    with predict.filelock.FileLock(tmp_path / "out" / predict.LOCK):
        code, _, said = call(eye, "--out", tmp_path / "out")
    assert code == 2
    assert "another prediction writes to this folder" in said.splitlines()[-1]


def test_nothing_heavy_is_imported():
    heavy = "tensorflow", "tf_keras", "mlflow", "pandas", "matplotlib", "pydantic", "onnx"
    code = f"import sys, src.predict; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"


def test_shipped_network_finds_the_vessels_of_drawn_eyes():
    from src.exported import Exported

    if not predict.MODEL.exists():
        pytest.skip(f"{predict.MODEL.relative_to(ROOT)} is not there yet")
    network = Exported(predict.MODEL)
    drawn = phantom.draw(3, 0, 584, 565)
    found = network.vessels(network.maps(drawn.image, drawn.fov, flips=False).probability)
    assert counts.dice(counts.count(drawn.truth, found, drawn.fov)) > 0.6
    assert predict.MODEL.stat().st_size < 10e6
