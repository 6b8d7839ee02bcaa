import sys
from pathlib import Path

import pytest
import yaml

from src import stage_runner
from tests.integration import stage_runs

STAGES = [path.stem for path in sorted(Path("stages").glob("*.py")) if path.stem != "__init__"]
LIGHT = {"download", "patch", "augment", "baselines", "plot", "report"}
REPEATED = {"fingerprint"}  # once for each data set of the user: see test_fingerprint_stage
HEAVY = {"train", "export", "evaluate", "record"}  # they import TensorFlow: see test_end_to_end


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["stage"])


def no_sections(params):
    return {}


def failing(error: BaseException):
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    "error", [ValueError("a.png: expected 3x4, got 4x3"), OSError(28, "No space left on device", "a.png")]
)
def test_error_in_input_or_disk_is_one_message(error, capsys):
    with pytest.raises(SystemExit) as ended:
        stage_runner.run_stage(failing(error), no_sections)
    assert ended.value.code == f"error: {error}"


@pytest.mark.parametrize(("error", "message"), [((), "stopped"), (("stopped in epoch 2",), "stopped in epoch 2")])
def test_interrupt_is_one_message(error, message):
    with pytest.raises(SystemExit) as ended:
        stage_runner.run_stage(failing(KeyboardInterrupt(*error)), no_sections)
    assert ended.value.code == message


def test_defect_keeps_its_traceback():
    with pytest.raises(KeyError):
        stage_runner.run_stage(failing(KeyError("defect")), no_sections)


def test_paths_and_sections_are_handed_over_by_name(monkeypatch):
    seen = []

    def main(model_file: Path, loss: object, workers: int = 2) -> None:
        seen.append((model_file, loss.name, workers))

    monkeypatch.setattr(sys, "argv", ["stage", "--model-file", "a.h5"])
    stage_runner.run_stage(main, lambda params: {"loss": params.loss})
    assert seen == [(Path("a.h5"), "focal_dice", 2)]


def test_path_that_is_missing_is_named(capsys):
    def main(model_file: Path) -> None:
        pytest.fail("called")

    with pytest.raises(SystemExit):
        stage_runner.run_stage(main, no_sections)
    assert "--model-file" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:'stages:RuntimeWarning")  # where another test imported it
@pytest.mark.parametrize("stage", sorted(LIGHT))
def test_stage_in_an_empty_folder_fails_with_one_message(stage, tmp_path, capsys):
    (tmp_path / "params.yaml").write_bytes(Path("params.yaml").read_bytes())
    if stage == "download":  # the only stage that needs no input: give it a bad parameter
        text = (tmp_path / "params.yaml").read_text(encoding="utf-8").replace("train: [phantom]", "train: [drvie]")
        (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    command = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]["cmd"]
    with pytest.raises(SystemExit, match=r"^error: ") as ended:
        stage_runs.run(str(tmp_path), command)
    assert "\n" not in ended.value.code
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "data").exists()


def test_every_stage_is_known_here():
    assert set(STAGES) == LIGHT | HEAVY | REPEATED
