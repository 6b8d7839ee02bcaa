import subprocess
import sys
from pathlib import Path

import pytest

from src import cli

STAGES = [path.stem for path in sorted(Path("stages").glob("*.py")) if path.stem != "__init__"]
LIGHT = {"download": 2, "patch": 3, "augment": 2, "baselines": 3, "plot": 5, "report": 6}  # places a command names
HEAVY = {"train", "export", "evaluate", "record"}  # they import TensorFlow: see test_end_to_end


def failing(error: BaseException):
    def main(params: object) -> None:
        raise error

    return main


@pytest.mark.parametrize(
    "error", [ValueError("a.png: expected 3x4, got 4x3"), OSError(28, "No space left on device", "a.png")]
)
def test_error_in_input_or_disk_is_one_sentence(error, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.run(failing(error))
    assert ended.value.code == f"error: {error}"


@pytest.mark.parametrize(("error", "sentence"), [((), "stopped"), (("stopped in epoch 2",), "stopped in epoch 2")])
def test_interrupt_is_one_sentence(error, sentence):
    with pytest.raises(SystemExit) as ended:
        cli.run(failing(KeyboardInterrupt(*error)))
    assert ended.value.code == sentence


def test_defect_keeps_its_traceback():
    with pytest.raises(KeyError):
        cli.run(failing(KeyError("defect")))


def test_params_are_handed_over():
    seen = []
    cli.run(seen.append)
    assert seen[0].loss.name == "focal_dice"


@pytest.mark.parametrize("stage", LIGHT)
def test_stage_in_an_empty_folder_fails_with_one_sentence(stage, tmp_path):
    (tmp_path / "params.yaml").write_bytes(Path("params.yaml").read_bytes())
    if stage == "download":  # the only stage that needs no input: give it a bad parameter
        text = (tmp_path / "params.yaml").read_text(encoding="utf-8").replace("train: [phantom]", "train: [drvie]")
        (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    places = [f"data/{number}" for number in range(LIGHT[stage])]
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}", *places],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_every_stage_is_known_here():
    assert LIGHT.keys() | HEAVY == set(STAGES)
