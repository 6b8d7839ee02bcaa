"""Two `dvc repro` at once in one checkout: DVC lets one work, and what it writes is complete."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

DVC = [sys.executable, "-m", "dvc"]
SLOW = "import time; time.sleep(6); open('out.txt', 'w').write('complete')"


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A repository with a stage that lasts seconds."""
    for command in (["git", "init", "--quiet"], [*DVC, "init", "--quiet"]):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    stage = {"cmd": f'{sys.executable} -c "{SLOW}"', "outs": ["out.txt"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"slow": stage}}), encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_second_of_two_at_once_is_rejected_and_nothing_is_damaged(checkout):
    processes = [
        subprocess.Popen([*DVC, "repro"], cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    codes = [process.returncode for process in processes]
    assert 0 in codes
    for code, text in zip(codes, outputs, strict=True):
        assert code == 0 or "lock" in text.lower() or "busy" in text
        assert "Traceback" not in text
    assert (checkout / "out.txt").read_text(encoding="utf-8") == "complete"
    again = subprocess.run([*DVC, "repro"], cwd=checkout, capture_output=True, text=True, check=True)
    assert "didn't change" in again.stdout
