import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from src import batch, phantom, predict, samples

PHOTOGRAPHS, SIDE = 12, 120
START_SECONDS = 60


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """A folder with drawn photographs and one file that is none."""
    folder = tmp_path_factory.mktemp("photographs")
    for index in range(PHOTOGRAPHS):
        samples.write_image(folder / f"{index}.png", phantom.draw(1, index, SIDE, SIDE).image)
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def command(photographs, packed, out) -> list[str]:
    """Two workers."""
    options = ["--model", str(packed), "--workers", "2"]
    return [sys.executable, "-m", "src.batch", str(photographs), "--out", str(out), *options]


def table(out: Path) -> pd.DataFrame:
    """All rows below a folder, by photograph; where they stand is left out."""
    rows = pd.concat([pd.read_csv(path, dtype=str) for path in out.rglob(predict.TABLE)])
    return rows.sort_values("photograph", ignore_index=True)


def maps(out: Path) -> dict[str, bytes]:
    """The results below a folder, by name."""
    return {path.name: path.read_bytes() for path in sorted(out.rglob("*.png"))}


def workers(process: subprocess.Popen) -> list[psutil.Process]:
    """The processes that Dask has started and that predict."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_photograph_is_dealt_alike_whatever_others_there_are():
    files = [Path(f"/photographs/{number}.png") for number in range(1000)]
    parts = batch.dealt(files, Path("/out"))
    assert sorted(file for part in parts.values() for file in part) == sorted(files)
    assert batch.dealt(files[:1], Path("/out")).items() <= {out: part[:1] for out, part in parts.items()}.items()
    assert max(map(len, parts.values())) < 20


def test_two_workers_of_which_one_is_killed_give_what_one_process_gives(photographs, packed, tmp_path):
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command(photographs, packed, tmp_path / "several"), **streams)
    begin = time.monotonic()
    while not list((tmp_path / "several").glob("part-*/*_vessels.png")):
        assert process.poll() is None
        assert time.monotonic() - begin < START_SECONDS
        time.sleep(0.01)
    os.kill(workers(process)[0].pid, signal.SIGKILL)
    said, named = process.communicate(timeout=120)
    assert process.returncode == 1
    assert named.count(f"refused: {photographs.resolve() / 'broken.jpg'}: ") == 1
    assert "1 refused, 0 in folders that failed" in said
    alone = predict.fill(
        tmp_path / "alone", sorted(photographs.resolve().iterdir()), predict.Options(packed, 1, True, None)
    )
    assert (alone.predicted, alone.before, len(alone.refused)) == (PHOTOGRAPHS, 0, 1)
    pd.testing.assert_frame_equal(table(tmp_path / "several"), table(tmp_path / "alone"))
    assert maps(tmp_path / "several") == maps(tmp_path / "alone")


def test_folder_that_cannot_be_filled_is_named_and_the_others_are(photographs, packed, tmp_path):
    out = tmp_path / "out"
    part, files = next(iter(batch.dealt(sorted(photographs.resolve().iterdir()), out).items()))
    out.mkdir()
    part.write_text("a file in its place")
    ended = subprocess.run(command(photographs, packed, out), capture_output=True, text=True)
    assert ended.returncode == 1
    assert f"failed: {part}: FileExistsError" in ended.stderr
    assert f"{len(files)} in folders that failed" in ended.stdout
    assert len(table(out)) == PHOTOGRAPHS + 1 - len(files)
    failed = pd.read_csv(out / batch.FAILED)
    assert [tuple(row) for row in failed[["folder", "photographs"]].to_numpy()] == [(part.name, len(files))]
    part.unlink()
    again = subprocess.run(command(photographs, packed, out), capture_output=True, text=True)
    assert again.stdout.startswith(f"{len(files)} predicted, ") or "broken.jpg" in str(files)
    assert len(table(out)) == PHOTOGRAPHS + 1
    assert pd.read_csv(out / batch.FAILED).empty


def test_scheduler_that_answers_names_what_is_refused(photographs, packed, tmp_path, capfd, monkeypatch):
    given = [str(photographs), "--model", str(packed), "--out", str(tmp_path / "out")]
    with batch.LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        monkeypatch.setattr(sys, "argv", ["batch", *given, "--cluster", cluster.scheduler_address])
        assert batch.main() == 1
    said = capfd.readouterr()
    assert said.out.startswith(f"{PHOTOGRAPHS} predicted, 0 done before, 1 refused, 0 in folders that failed")
    assert said.err.count(f"refused: {photographs.resolve() / 'broken.jpg'}: ") == 1


def test_scheduler_that_does_not_answer_is_a_sentence(photographs, packed, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(batch, "CONNECT_SECONDS", 0.5)
    given = [str(photographs), "--model", str(packed), "--out", str(tmp_path), "--cluster", "tcp://127.0.0.1:9"]
    monkeypatch.setattr(sys, "argv", ["batch", *given])
    with pytest.raises(SystemExit, match="2"):
        batch.main()
    assert "tcp://127.0.0.1:9" in capsys.readouterr().err
