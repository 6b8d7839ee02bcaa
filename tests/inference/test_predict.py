import csv
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from darkness_network import darkness
from PIL import Image

from benchmarks import inference_latency
from robustness import kill_prediction
from src.common import hashing, probability_levels
from src.data import image_opening, input_validation, samples
from src.inference import hysteresis, image_predictor, predict, predict_folder
from src.inference.onnx_model import DEFAULT_MODEL, OnnxModel
from src.metrics import confusion_matrix
from src.serving import package_model
from src.synthetic import generator

SYNTHETIC = generator.generate(1, 0, 240, 230)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(packed, capsys):
    """Run the command in this process: exit code, stdout and stderr."""

    def run_command(*arguments: object) -> tuple[int, str, str]:
        try:
            code = predict.main([*map(str, arguments), "--model", str(packed)])
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run_command


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "images" / "a.png"
    path.parent.mkdir()
    Image.fromarray(SYNTHETIC.image).save(path)
    return path


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def names(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()} - {".lock"}


def test_image_becomes_maps_of_its_size_and_a_row(run, image, tmp_path):
    code, stdout, _ = run(image, "--out", tmp_path / "out")
    assert (code, stdout) == (0, f"1 predicted, 0 already done, 0 rejected: {tmp_path / 'out' / 'predictions.csv'}\n")
    assert names(tmp_path / "out") == {"predictions.csv", *(f"a_{kind}.png" for kind in image_predictor.MAPS)}
    levels = samples.read_levels(tmp_path / "out" / "a_probability.png")
    vessels = samples.read_bool(tmp_path / "out" / "a_vessels.png")
    assert np.array_equal(vessels, levels > 0.25 * 65535)
    assert confusion_matrix.dice(confusion_matrix.count(SYNTHETIC.truth, vessels, SYNTHETIC.fov)) > 0.5
    assert samples.read_levels(tmp_path / "out" / "a_uncertainty.png").max() > 0
    overlay = samples.read_image(tmp_path / "out" / "a_overlay.png")
    assert np.array_equal(overlay[~vessels], SYNTHETIC.image[~vessels])
    assert (overlay[vessels] != SYNTHETIC.image[vessels]).any(axis=1).mean() > 0.99
    row = rows(tmp_path / "out")["a"]
    assert (row["image"], row["status"], row["reason"]) == (str(image), "done", "")
    assert (row["width"], row["height"], row["tta"], row["threshold"]) == ("230", "240", "true", "0.25")
    sides = [np.ptp(np.flatnonzero(SYNTHETIC.fov.any(axis=axis))) + 1 for axis in (0, 1)]
    assert int(row["fov_diameter"]) == pytest.approx(max(sides), abs=3)
    assert float(row["vessel_density"]) == pytest.approx(vessels.sum() / SYNTHETIC.fov.sum(), rel=0.02)
    assert 0 < float(row["mean_uncertainty"]) < 1


@pytest.mark.parametrize("threshold", [None, 0.4])
def test_hysteresis_takes_effect_at_the_threshold_of_the_command(packed, image, tmp_path, threshold):
    network = OnnxModel(packed)
    path = tmp_path / "network.onnx"
    path.write_bytes(package_model.add_settings(darkness(), network.settings._replace(hysteresis_threshold=0.6)))
    options = [] if threshold is None else ["--threshold", str(threshold)]
    predict.main([str(image), "--out", str(tmp_path / "out"), "--model", str(path), *options])
    _, fov, *_ = input_validation.read_fundus(image.read_bytes(), "image")
    maps = [each.predict(SYNTHETIC.image, fov).probability for each in (network, OnnxModel(path))]
    expected = probability_levels.to_levels(hysteresis.at_threshold(*maps, threshold or network.settings.threshold))
    assert np.array_equal(samples.read_levels(tmp_path / "out" / "a_probability.png"), expected)
    assert (expected != probability_levels.to_levels(maps[0])).any()


def test_without_tta_there_is_no_uncertainty_and_an_earlier_map_is_removed(run, image, tmp_path):
    run(image, "--out", tmp_path / "out")
    assert run(image, "--out", tmp_path / "out", "--no-tta")[0] == 0
    assert names(tmp_path / "out") == {"predictions.csv", *(f"a_{kind}.png" for kind in image_predictor.MAPS[:3])}
    assert rows(tmp_path / "out")["a"]["mean_uncertainty"] == ""


def test_image_that_is_up_to_date_is_not_predicted_again(run, image, tmp_path):
    run(image, "--out", tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    assert run(image, "--out", tmp_path / "out")[1].startswith("0 predicted, 1 already done")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")} == before


@pytest.mark.parametrize("change", ["image", "threshold", "tta", "field angle", "map removed"])
def test_image_is_predicted_again_after_a_change(run, image, tmp_path, change):
    out = tmp_path / "out"
    run(image, "--out", out)
    changed = {"threshold": ["--threshold", "0.5"], "tta": ["--no-tta"], "field angle": ["--field-angle", "60"]}
    options = changed.get(change, [])
    if change == "image":
        Image.fromarray(SYNTHETIC.image[::-1]).save(image)
    if change == "map removed":
        (out / "a_overlay.png").unlink()
    before = samples.read_levels(out / "a_probability.png")
    assert run(image, "--out", out, *options)[1].startswith("1 predicted, 0 already done")
    assert (out / "a_overlay.png").exists()
    if change == "field angle":
        assert rows(out)["a"]["field_angle"] == "60"
        assert (samples.read_levels(out / "a_probability.png") != before).any()


def test_image_that_becomes_invalid_loses_its_earlier_maps(run, image, tmp_path):
    run(image, "--out", tmp_path / "out")
    image.write_bytes(image.read_bytes()[:1000])
    code, _, stderr = run(image, "--out", tmp_path / "out")
    assert code == 1
    assert f"rejected: {image}: expected" in stderr
    assert names(tmp_path / "out") == {"predictions.csv"}
    row = rows(tmp_path / "out")["a"]
    assert (row["status"], row["width"]) == ("rejected", "")
    assert row["reason"].startswith(f"{image}: expected")


def test_image_that_cannot_be_read_for_once_keeps_its_maps(run, image, tmp_path, monkeypatch):
    run(image, "--out", tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with monkeypatch.context() as context:
        context.setattr(Path, "read_bytes", deny(image.resolve(), Path.read_bytes))
        code, _, stderr = run(image, "--out", tmp_path / "out")
    message = f"rejected: {image}: cannot be read (Permission denied); its earlier results stay"
    assert (code, message in stderr) == (1, True)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert run(image, "--out", tmp_path / "out")[1].startswith("0 predicted, 1 already done")


def deny(path: Path, read):
    """Path.read_bytes without the permission to read this one."""

    def read_bytes(self):
        if self == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read(self)

    return read_bytes


def test_image_that_ends_the_process_twice_is_rejected(run, image, tmp_path, packed):
    """As where the memory does not suffice and the system kills the process."""
    program = (
        "import os, signal, sys; from src.inference import image_predictor, predict; "
        "image_predictor.ImagePredictor.predict = lambda *_: os.kill(os.getpid(), signal.SIGKILL); "
        "sys.exit(predict.main())"
    )
    command = [sys.executable, "-c", program, str(image), "--out", str(tmp_path / "out"), "--model", str(packed)]
    tries = predict_folder.TRIES
    codes = [subprocess.run(command, cwd=ROOT, capture_output=True).returncode for _ in range(tries + 1)]
    assert codes == [-9] * tries + [1]
    row = rows(tmp_path / "out")["a"]
    assert (row["status"], row["reason"]) == ("rejected", f"{image}: its prediction ended the process 2 times")
    assert run(image, "--out", tmp_path / "out")[1].startswith("1 predicted")


def test_file_that_is_too_large_to_be_read_is_rejected(run, image, tmp_path):
    with (image.parent / "huge.tif").open("wb") as file:
        file.truncate(image_opening.MAX_BYTES + 1)  # without a byte on the disk
    code, stdout, stderr = run(image.parent, "--out", tmp_path / "out")
    assert code == 1
    assert stdout.startswith("1 predicted, 0 already done, 1 rejected")
    assert "huge.tif: expected a file of at most 536870912 bytes, got a larger one" in stderr


def test_image_that_does_not_fit_into_memory_is_rejected(run, image, tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(image_predictor.ImagePredictor, "predict", fail)
    code, _, stderr = run(image, "--out", tmp_path / "out")
    assert (code, f"rejected: {image}: not enough memory to predict it" in stderr) == (1, True)


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (OSError(errno.ENOSPC, "full"), 2)])
def test_image_during_which_the_user_stops_or_the_disk_fills_is_not_rejected(
    run, image, tmp_path, monkeypatch, error, code
):
    def stop(*_):
        raise error

    with monkeypatch.context() as context:
        context.setattr(image_predictor.ImagePredictor, "predict", stop)
        assert [run(image, "--out", tmp_path / "out")[0] for _ in range(predict_folder.TRIES + 1)] == [code] * 3
    assert run(image, "--out", tmp_path / "out")[1].startswith("1 predicted")


def test_tries_count_for_equal_options_only():
    started = dict.fromkeys(image_predictor.COLUMNS, "") | {"sha256": "a", "model": "b", "tta": "true"}
    earlier = started | {"status": image_predictor.STARTED, "reason": "2"}
    count = predict_folder._count_tries
    assert count(started, earlier) == 2
    assert count(started | {"tta": "false"}, earlier) == 0
    assert count(started | {"model": "c"}, earlier) == 0
    assert count(started, earlier | {"status": image_predictor.DONE}) == 0


@pytest.mark.parametrize("table", ["photographs.csv", "predictions.csv"])
def test_results_of_an_earlier_version_are_rejected_and_left_alone(run, image, tmp_path, table):
    out = tmp_path / "out"
    out.mkdir()
    (out / table).write_text("photograph,id,status\n")
    code, _, stderr = run(image, "--out", out)
    assert code == 2
    assert f"{out / table}: " in stderr
    assert "; choose another output folder, or delete this one" in stderr
    assert (out / table).read_text() == "photograph,id,status\n"


def test_images_of_one_name_do_not_overwrite_each_other(run, image, tmp_path):
    out, other = tmp_path / "out", tmp_path / "others" / "a.png"
    run(image, "--out", out)
    shutil.copytree(image.parent, other.parent)
    Image.fromarray(SYNTHETIC.image[::-1]).save(other)
    assert run(image.parent, other.parent, "--out", out)[1].startswith("1 predicted, 1 already done")
    first, second = rows(out).values()
    assert {first["id"], second["id"]} > {"a"}
    assert len(names(out)) == 9
    maps = [samples.read_levels(out / f"{row['id']}_probability.png") for row in (first, second)]
    np.testing.assert_allclose(maps[0][::-1], maps[1], atol=200)


def test_network_that_was_packed_anew_in_the_same_process_is_used(image, packed, tmp_path):
    options = predict_folder.PredictOptions(tmp_path / "mine.onnx", 1, tta=False, field_angle=None, threshold=None)
    used = []
    for network in (packed, ROOT / DEFAULT_MODEL):
        shutil.copy(network, options.model)
        outcome = predict_folder.predict_folder(tmp_path / "out", [image], options)
        used.append((outcome.predicted, rows(tmp_path / "out")["a"]["model"]))
    assert used == [(1, hashing.sha256(packed)), (1, hashing.sha256(ROOT / DEFAULT_MODEL))]


@pytest.mark.parametrize("suffix", list(kill_prediction.FORMATS))
def test_prediction_does_not_depend_on_the_file_format(run, tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_bytes(kill_prediction.FORMATS[suffix](SYNTHETIC.image))
    (tmp_path / "plain.png").write_bytes(kill_prediction.FORMATS[".png"](SYNTHETIC.image))
    assert run(tmp_path / f"a{suffix}", tmp_path / "plain.png", "--out", tmp_path / "out", "--no-tta")[0] == 0
    maps = [samples.read_levels(path) / 65535 for path in sorted((tmp_path / "out").glob("*_probability.png"))]
    assert maps[0].shape == maps[1].shape
    assert np.abs(maps[0] - maps[1]).mean() < (0.02 if "jpg" in suffix else 1e-6)


@pytest.mark.slow
def test_folder_with_invalid_images_is_resumed_after_a_kill(packed, run, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    kill_prediction.write_mixed(images, 24, broken=6)
    left = kill_prediction.kill_after(inference_latency.predict_command(images, out, packed, "--no-tta"), out, rows=8)
    assert 8 <= left < 24
    code, stdout, stderr = run(images, "--out", out, "--no-tta")
    assert code == 1
    assert ", 6 rejected" in stdout
    assert stderr.count("rejected: ") == 6
    found = list(rows(out).values())
    assert len(found) == len({row["id"] for row in found}) == 24
    assert sum(row["status"] == "done" for row in found) == 18
    for row in found:
        written = [(out / f"{row['id']}_{kind}.png").exists() for kind in image_predictor.MAPS[:3]]
        assert written == [row["status"] == "done"] * 3
        if row["status"] == "rejected":
            assert row["reason"].startswith(f"{row['image']}: ")
            assert Path(row["image"]).name[4] == "_"
    assert run(images, "--out", out, "--no-tta")[1].startswith(
        "0 predicted, 18 already done, 6 rejected (see column reason): "
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.png"], "none.png: expected a file, a folder with images"),
        (["--threshold", "1.5"], "expected a number between 0 and 1, got 1.5"),
        (["--field-angle", "4.5"], "expected 20 to 60 degrees, got 4.5"),
        (["--field-angle", "wide"], "expected 20 to 60 degrees, got wide"),
        (["--threads", "0"], "expected a number from 1 to 1024, got 0"),
    ],
)
def test_invalid_arguments_end_with_a_message(run, image, tmp_path, arguments, message):
    code, _, stderr = run(image, *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert message in stderr.splitlines()[-1]


def test_missing_model_ends_with_a_message(image, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        predict.main([str(image), "--out", str(tmp_path / "out"), "--model", str(tmp_path / "none.onnx")])
    assert "none.onnx: missing" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_second_command_on_the_same_folder_is_rejected(run, image, tmp_path):
    (tmp_path / "out").mkdir()
    with predict.filelock.FileLock(tmp_path / "out" / predict_folder.LOCK):
        code, _, stderr = run(image, "--out", tmp_path / "out")
    assert code == 2
    assert "another prediction writes to this folder" in stderr.splitlines()[-1]


WITHOUT_POSIX = """
import cv2, filelock, onnxruntime, os, PIL.Image, psutil, signal, skimage.morphology, sys, tqdm  # branch by themselves

for module, names in (
    (signal, ("SIGALRM", "SIGHUP", "SIGKILL", "ITIMER_REAL", "setitimer", "pthread_kill", "pthread_sigmask")),
    (os, ("nice", "sched_getaffinity", "fork", "getuid", "O_DIRECTORY")),
):
    for name in names:
        delattr(module, name)
sys.modules.update(dict.fromkeys(("fcntl", "resource", "pwd", "grp", "termios")))
from src.inference import predict

sys.exit(predict.main())
"""


def test_prediction_needs_nothing_that_only_posix_has(packed, image, tmp_path):
    arguments = [str(image), "--out", str(tmp_path / "out"), "--model", str(packed)]
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout.partition(":")[0]) == (0, "1 predicted, 0 already done, 0 rejected"), (
        ended.stderr
    )


def test_shipped_network_segments_synthetic_images():
    network = OnnxModel(DEFAULT_MODEL)
    sample = generator.generate(3, 0, 584, 565)
    predicted = network.binarize(network.predict(sample.image, sample.fov, tta=False).probability)
    assert confusion_matrix.dice(confusion_matrix.count(sample.truth, predicted, sample.fov)) > 0.6
    assert DEFAULT_MODEL.stat().st_size < 10e6


def test_camera_and_scale_of_a_dicom_file_are_in_the_table(run, tmp_path):
    dicom = pytest.importorskip("pydicom")
    file = dicom.Dataset()
    file.file_meta = dicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = dicom.uid.ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = dicom.uid.generate_uid()
    file.Modality, file.PatientName, file.StudyDate = "OP", "Doe^Jane", "20200304"
    file.PixelSpacing, file.ImageLaterality, file.ManufacturerModelName = [0.01, 0.01], "R", "TRC-NW8"
    file.Rows, file.Columns, file.SamplesPerPixel, file.PlanarConfiguration = *SYNTHETIC.image.shape, 0
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
    file.PhotometricInterpretation, file.PixelData = "RGB", SYNTHETIC.image.tobytes()
    file.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert run(tmp_path / "a.dcm", "--out", tmp_path / "out", "--no-tta")[0] == 0
    row = rows(tmp_path / "out")["a"]
    assert (row["pixel_spacing_mm"], row["laterality"], row["device"]) == ("0.01", "R", "TRC-NW8")
    table = (tmp_path / "out" / "predictions.csv").read_text()
    assert "Doe" not in table
    assert "20200304" not in table
    header = table.splitlines()[0].split(",")
    assert header[header.index("height") + 1 :][:3] == ["pixel_spacing_mm", "laterality", "device"]


def test_camera_and_scale_are_empty_for_other_files(run, image, tmp_path):
    run(image, "--out", tmp_path / "out", "--no-tta")
    row = rows(tmp_path / "out")["a"]
    assert (row["pixel_spacing_mm"], row["laterality"], row["device"]) == ("", "", "")


def test_other_files_of_a_folder_are_named_by_kind(run, image, tmp_path):
    (image.parent / "notes.txt").touch()
    (image.parent / "Thumbs.db").touch()
    code, stdout, stderr = run(image.parent, "--out", tmp_path / "out", "--no-tta")
    assert code == 0
    assert "0 rejected, 1 other file (1 .txt) not read: " in stdout
    named = image.parent / "notes.txt"
    assert f"not read: 1 other file (1 .txt): {named}\n1 hidden or system files and folders are left out\n" in stderr


@pytest.mark.parametrize("kind", ["pages", "fields of view"])
def test_image_of_which_a_part_is_predicted_is_flagged_and_named(run, tmp_path, kind):
    path = tmp_path / "a.tif"
    if kind == "pages":
        Image.fromarray(SYNTHETIC.image).save(path, save_all=True, append_images=[Image.fromarray(SYNTHETIC.image)])
    else:
        Image.fromarray(np.concatenate([SYNTHETIC.image] * 2, axis=1)).save(path)
    code, _, stderr = run(path, "--out", tmp_path / "out", "--no-tta")
    flag = {"pages": "several_images", "fields of view": "several_fields_of_view"}[kind]
    assert code == 0
    assert flag in rows(tmp_path / "out")["a"]["quality"].split()
    assert f"warning: {path}: " in stderr


def test_home_folder_is_expanded_in_options(run, image, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run("~/images/*.png", "--out=~/out", "--no-tta")[0] == 0
    assert (tmp_path / "out" / "predictions.csv").exists()
