import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from src.data import samples
from src.inference import predict_batch, predict_folder
from src.synthetic import generator

IMAGES, SIDE = 12, 120
START_SECONDS = 60


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """A folder with synthetic images and one file that is no image."""
    folder = tmp_path_factory.mktemp("images")
    for index in range(IMAGES):
        samples.write_image(folder / f"{index}.png", generator.generate(1, index, SIDE, SIDE).image)
    (folder / "invalid.jpg").write_bytes(b"no image")
    return folder


def command(images, packed, out) -> list[str]:
    """The command with two workers."""
    options = ["--model", str(packed), "--workers", "2"]
    return [sys.executable, "-m", "src", "predict-batch", str(images), "--out", str(out), *options]


def table(out: Path) -> pd.DataFrame:
    """All rows below a folder, sorted by image."""
    rows = pd.concat([pd.read_csv(path, dtype=str) for path in out.rglob(predict_folder.TABLE)])
    return rows.sort_values("image", ignore_index=True)


def maps(out: Path) -> dict[str, bytes]:
    """All maps below a folder, by name."""
    return {path.name: path.read_bytes() for path in sorted(out.rglob("*.png"))}


def workers(process: subprocess.Popen) -> list[psutil.Process]:
    """The processes that Dask has started and that predict."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_subfolder_of_an_image_does_not_depend_on_the_other_images():
    files = [Path(f"/images/{number}.png") for number in range(1000)]
    shards = predict_batch.shard_by_hash(files, Path("/out"))
    assert sorted(file for shard in shards.values() for file in shard) == sorted(files)
    ((folder, _),) = predict_batch.shard_by_hash(files[:1], Path("/out")).items()
    assert files[0] in shards[folder]
    assert max(map(len, shards.values())) < 20


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_write_what_one_process_writes(images, packed, tmp_path):
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command(images, packed, tmp_path / "several"), **streams)
    begin = time.monotonic()
    while not list((tmp_path / "several").glob("part-*/*_vessels.png")):
        assert process.poll() is None
        assert time.monotonic() - begin < START_SECONDS
        time.sleep(0.01)
    os.kill(workers(process)[0].pid, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert stderr.count(f"rejected: {images.resolve() / 'invalid.jpg'}: ") == 1
    assert "1 rejected (see column reason), 0 in failed subfolders" in stdout
    options = predict_folder.PredictOptions(packed, 1, tta=True, field_angle=None, threshold=None)
    single = predict_folder.predict_folder(tmp_path / "single", sorted(images.resolve().iterdir()), options)
    assert (single.predicted, single.already_done, len(single.rejected)) == (IMAGES, 0, 1)
    pd.testing.assert_frame_equal(table(tmp_path / "several"), table(tmp_path / "single"))
    assert maps(tmp_path / "several") == maps(tmp_path / "single")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of the scheduler of a cluster with one worker."""
    with predict_batch.local_cluster(1, encrypted=False) as started:
        yield started.scheduler_address


def test_two_clusters_at_a_time_need_no_port_of_their_own(cluster):
    with predict_batch.local_cluster(1, encrypted=False) as other:  # a warning of a used port would be an error
        assert other.scheduler_address != cluster


@pytest.fixture
def predict(images, packed, cluster, capfd) -> Callable[[Path], tuple[int, str, str]]:
    """A function that predicts the images on the cluster; returns the exit code and what is printed."""

    def predict_to(out: Path) -> tuple[int, str, str]:
        arguments = [str(images), "--out", str(out), "--model", str(packed), "--cluster", cluster]
        return predict_batch.main(arguments), *capfd.readouterr()

    return predict_to


@pytest.mark.slow
def test_subfolder_that_fails_is_named_and_the_others_are_predicted(images, predict, tmp_path):
    out = tmp_path / "out"
    folder, files = next(iter(predict_batch.shard_by_hash(sorted(images.resolve().iterdir()), out).items()))
    out.mkdir()
    folder.write_text("a file in its place")
    code, stdout, stderr = predict(out)
    assert code == 1
    assert f"failed: {folder}: FileExistsError" in stderr
    assert f"{len(files)} in failed subfolders" in stdout
    assert len(table(out)) == IMAGES + 1 - len(files)
    failed = pd.read_csv(out / predict_batch.FAILED)
    assert [tuple(row) for row in failed[["folder", "images"]].to_numpy()] == [(folder.name, len(files))]
    folder.unlink()
    _, stdout, _ = predict(out)
    assert stdout.startswith(f"{len(files)} predicted, ") or "invalid.jpg" in str(files)
    assert len(table(out)) == IMAGES + 1
    assert pd.read_csv(out / predict_batch.FAILED).empty


@pytest.mark.slow
def test_cluster_predicts_and_names_rejected_images(images, predict, tmp_path):
    code, stdout, stderr = predict(tmp_path / "out")
    assert code == 1
    assert stdout.startswith(
        f"{IMAGES} predicted, 0 already done, 1 rejected (see column reason), 0 in failed subfolders"
    )
    assert stderr.count(f"rejected: {images.resolve() / 'invalid.jpg'}: ") == 1


@pytest.mark.slow
def test_two_runs_on_one_scheduler_do_not_share_their_subfolders(images, packed, cluster, tmp_path):
    options = predict_folder.PredictOptions(packed, 1, tta=False, field_angle=None, threshold=None)
    files = [images.resolve() / "0.png"]
    with predict_batch.Client(cluster) as one, predict_batch.Client(cluster) as other:
        runs = [
            predict_batch.predict_shards({tmp_path / name / "part-00": files}, options, client)
            for name, client in (("one", one), ("other", other))
        ]
        for (folder, outcome), name in zip(map(next, runs), ("one", "other"), strict=True):
            assert folder == tmp_path / name / "part-00"
            assert outcome.predicted == 1
            assert table(folder)["status"].tolist() == ["done"]


def test_scheduler_that_does_not_respond_ends_with_a_message(images, packed, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(predict_batch, "CONNECT_SECONDS", 0.5)
    with pytest.raises(SystemExit, match="2"):
        predict_batch.main(
            [str(images), "--model", str(packed), "--out", str(tmp_path), "--cluster", "tcp://127.0.0.1:9"]
        )
    assert "tcp://127.0.0.1:9" in capsys.readouterr().err


def test_results_of_an_earlier_version_are_rejected_before_any_worker_starts(images, packed, tmp_path, capsys):
    folder = next(iter(predict_batch.shard_by_hash(sorted(images.resolve().iterdir()), tmp_path)))
    folder.mkdir()
    (folder / "photographs.csv").touch()
    with pytest.raises(SystemExit, match="2"):
        predict_batch.main([str(images), "--model", str(packed), "--out", str(tmp_path)])
    assert "photographs.csv: results of an earlier version" in capsys.readouterr().err
