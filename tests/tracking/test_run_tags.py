from pathlib import Path

import pytest
import yaml

from src.evaluation.pipeline_status import Lock
from src.tracking import run_tags


def test_changed_code_is_dirty_and_changed_params_and_results_are_not(project, gather):
    (project / "params.yaml").write_text("changed: true\n")
    (project / "metrics" / "new.csv").write_text("written by a stage\n")
    clean = gather(project).tags["git.dirty"]
    (project / "new.py").write_text("changed = True\n")
    dirty = gather(project).tags["git.dirty"]
    (project / "new.py").unlink()
    assert (clean, dirty) == ("false", "true")


def test_results_of_another_processor_are_explained_and_those_of_other_params_are_not(project):
    table = next(path for path in sorted((project / "metrics").iterdir()) if path.is_file())
    assert run_tags.describe_changed_results(project, project / "metrics") is None
    table.write_text("other last digits\n")
    assert "1 files of" in run_tags.describe_changed_results(project, project / "metrics")
    (project / "params.yaml").write_text("changed: true\n")
    assert run_tags.describe_changed_results(project, project / "metrics") is None


def test_lock_with_marks_of_a_conflict_is_an_error_that_names_it(project, gather, monkeypatch):
    monkeypatch.chdir(project)
    (project / "dvc.lock").write_text("schema: '2.0'\n<<<<<<< HEAD\nstages:\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"^dvc\.lock: expected YAML, got "):
        gather(Path())


def test_fingerprint_identifies_the_state(tmp_path):
    table = tmp_path / "scores.json"
    table.write_text("{}")
    first = run_tags.fingerprint({"md5.data/model/model.h5": "a"}, {"seed": 1}, [table])
    assert run_tags.fingerprint({"md5.data/model/model.h5": "b"}, {"seed": 1}, [table]) != first
    assert run_tags.fingerprint({"md5.data/model/model.h5": "a"}, {"seed": 2}, [table]) != first
    table.write_text("{} ")
    assert run_tags.fingerprint({"md5.data/model/model.h5": "a"}, {"seed": 1}, [table]) != first


@pytest.mark.parametrize(
    ("path", "included"),
    [("data/model.h5", True), ("data/test", True), ("metrics/audit.csv", True), ("data/report.html", False)],
)
def test_fingerprint_is_that_of_what_the_stage_depends_on(project, gather, path, included):
    """Else two clones, of which one was changed step by step, end with different fingerprints."""
    lock = project / "dvc.lock"
    values = yaml.safe_load(lock.read_text(encoding="utf-8"))
    tags = []
    for md5 in ("1", "2"):
        values["stages"]["one"] = {"cmd": md5, "deps": [{"path": "src/a.py", "md5": md5}]}
        values["stages"]["one"]["outs"] = [{"path": path, "md5": md5}]
        lock.write_text(yaml.safe_dump(values), encoding="utf-8")
        tags.append(gather(project).tags[run_tags.FINGERPRINT])
    assert (tags[0] != tags[1]) == included
    values["stages"]["one"]["deps"][0]["md5"] = "other code, the same outputs"
    lock.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert gather(project).tags[run_tags.FINGERPRINT] == tags[1]


def test_training_is_identified_by_its_weights_and_learning_curves(project, gather):
    before = gather(project).tags[run_tags.TRAINING]
    scores = project / "metrics" / "scores.json"
    scores.write_text(scores.read_text().replace("0.8", "0.7"))
    assert gather(project).tags[run_tags.TRAINING] == before
    (project / "data" / "model.h5").write_bytes(b"other weights")
    assert gather(project).tags[run_tags.TRAINING] != before


def test_hash_of_the_lock_leaves_out_the_stage_that_records():
    def lock_hash(**commands: str) -> str:
        stages = {name: {"cmd": command} for name, command in commands.items()}
        return run_tags.lock_hash(Lock.model_validate({"stages": stages}))

    assert lock_hash(train="a", record="b") == lock_hash(train="a")
    assert lock_hash(train="b") != lock_hash(train="a")
