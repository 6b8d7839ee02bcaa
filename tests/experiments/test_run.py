import subprocess

from experiments import run


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


def test_restored_training_has_no_time():
    assert run.training_minutes(["Stage 'train' is cached - skipping run\n", "Running stage 'evaluate':\n"]) is None


def test_experiment_of_an_earlier_commit_is_not_taken_for_the_present_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def git(*arguments):
        command = ["git", "-c", "user.name=n", "-c", "user.email=e", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    for message in ("one", "two"):
        git("commit", "--quiet", "--allow-empty", "--message", message)
        git("update-ref", run.reference("drive"), git("commit-tree", "HEAD^{tree}", "-m", f"experiment of {message}"))
    assert git("log", "--format=%s", run.reference("drive")) == "experiment of two"
