import shutil

import pandas as pd

from src import runs


def test_changed_code_is_dirty_and_changed_params_and_results_are_not(project, gather):
    (project / "params.yaml").write_text("changed: true\n")
    (project / "metrics" / "new.csv").write_text("made by a stage\n")
    clean = gather(project).tags["git.dirty"]
    (project / "new.py").write_text("changed = True\n")
    dirty = gather(project).tags["git.dirty"]
    (project / "new.py").unlink()
    assert (clean, dirty) == ("false", "true")


def test_project_without_git_and_lock_can_be_recorded(tmp_path, project, gather, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in (".git", "dvc.lock", "dvc.yaml", "params.yaml"):
        path = project / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run = gather(project)
    assert not [name for name in run.tags if name.startswith(("git.", "md5."))]
    assert run.files["pipeline"] == []
    assert run.inputs == []


def test_fingerprint_knows_the_state_and_not_the_stage_that_records_it(tmp_path):
    table = tmp_path / "scores.json"
    table.write_text("{}")
    lock = {"stages": {"train": {"cmd": "a"}}}
    first = runs.fingerprint(lock, {"seed": 1}, [table])
    assert runs.fingerprint({"stages": {"record": {"cmd": "b"}, **lock["stages"]}}, {"seed": 1}, [table]) == first
    assert runs.fingerprint({"stages": {"train": {"cmd": "b"}}}, {"seed": 1}, [table]) != first
    assert runs.fingerprint(lock, {"seed": 2}, [table]) != first
    table.write_text("{} ")
    assert runs.fingerprint(lock, {"seed": 1}, [table]) != first


def test_per_image_table_is_read_with_text_ids(project, gather):
    assert isinstance(gather(project).per_image, pd.DataFrame)
    assert gather(project).per_image["id"].tolist() == ["01"]


def test_training_is_told_by_its_weights_and_its_table(project, gather):
    before = gather(project).tags[runs.TRAINING]
    (project / "metrics" / "scores.json").write_text("{}")
    assert gather(project).tags[runs.TRAINING] == before
    (project / "data" / "model.h5").write_bytes(b"other weights")
    assert gather(project).tags[runs.TRAINING] != before


def test_lock_is_told_without_the_stage_that_records():
    lock = {"stages": {"train": {"cmd": "a"}}}
    assert runs.lock_hash({"stages": {"record": {"cmd": "b"}, **lock["stages"]}}) == runs.lock_hash(lock)
    assert runs.lock_hash({"stages": {"train": {"cmd": "b"}}}) != runs.lock_hash(lock)
