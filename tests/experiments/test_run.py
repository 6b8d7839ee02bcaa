import subprocess
import sys

import pytest

from experiments import run


def git(*arguments):
    command = ["git", "-c", "user.name=n", "-c", "user.email=e", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_training_time_ends_where_the_next_stage_begins(monkeypatch):
    moments = iter([60.0, 240.0])
    monkeypatch.setattr(run.time, "monotonic", lambda: next(moments))
    lines = [
        "Running stage 'augment':\n",
        "Running stage 'train':\n",
        "epoch 1\n",
        "Stage 'export' is cached\n",
        "done\n",
    ]
    assert run.training_minutes(lines) == 3.0


def test_experiment_of_an_earlier_commit_is_not_taken_for_the_present_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    for message in ("one", "two"):
        git("commit", "--quiet", "--allow-empty", "--message", message)
        git("update-ref", run.reference("drive"), git("commit-tree", "HEAD^{tree}", "-m", f"experiment of {message}"))
    assert git("log", "--format=%s", run.reference("drive")) == "experiment of two"


def test_nothing_runs_on_changed_params(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "load_experiments", lambda: {"drive": None})
    monkeypatch.setattr(sys, "argv", ["run", "drive"])
    ran = []
    monkeypatch.setattr(run, "run", lambda name, _: ran.append(name))
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    params = tmp_path / "params.yaml"
    params.write_text("threshold: null\n", encoding="utf-8")
    git("add", "params.yaml")
    git("commit", "--quiet", "--message", "params")
    run.main()
    assert ran == ["drive"]
    params.write_text("threshold: 0.4\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        run.main()
    assert ran == ["drive"]
    assert "params.yaml: expected that of the last commit, found changes" in capsys.readouterr().err
