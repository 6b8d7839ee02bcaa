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
