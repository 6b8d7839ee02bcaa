import copy
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.params import (
    RENAMED,
    UNTRACKED,
    Params,
    RegressionGate,
    Train,
    load_checkpoints,
    load_params,
    load_regression_gate,
)

COMMITTED = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))


def written(tmp_path: Path, key: str, value: object) -> Path:
    values = copy.deepcopy(COMMITTED)
    section, name = key.split(".")
    values[section][name] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_committed_file_is_valid():
    assert isinstance(load_params(), Params)
    assert isinstance(load_regression_gate(), RegressionGate)
    assert set(COMMITTED) == {*Params.model_fields, *UNTRACKED}


def test_number_written_as_yaml_1_1_string_is_a_number(tmp_path):
    path = tmp_path / "params.yaml"
    text = Path("params.yaml").read_text(encoding="utf-8")
    assert "learning_rate: 4.0e-3" in text
    path.write_text(text.replace("learning_rate: 4.0e-3", "learning_rate: 1e-05"), encoding="utf-8")
    assert load_params(path).train.learning_rate == 1e-5


@pytest.mark.parametrize(
    ("architecture", "crop_size", "said"),
    [
        ("residual_unet", 288, r"train\.crop_size: expected at most the 256 pixels of patch\.size, got 288$"),
        ("pspnet", 192, r"train\.crop_size: expected null for pspnet, whose input has one size, got 192$"),
    ],
)
def test_crops_that_do_not_fit_are_rejected(tmp_path, architecture, crop_size, said):
    path = written(tmp_path, "train.crop_size", crop_size)
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["model"]["architecture"] = architecture
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        load_params(path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("loss.alpha", 2, "loss.alpha: .*less than or equal to 1, got 2"),
        ("loss.delta", 1, "loss.delta: unknown key"),
        ("loss.name", "hinge", "loss.name: .*'focal_dice'.*got 'hinge'"),
        ("loss.name", "unified_focal", r"loss\.gamma: expected less than 1 with unified_focal, got 2\.0$"),
        ("model.encoder_weights", "./data/model/model.h5", r"model\.encoder_weights: expected a copy of .* elsewhere"),
        ("train.learning_rate", "fast", "train.learning_rate: .*number.*got 'fast'"),
        ("train.learning_rate", float("nan"), "train.learning_rate: .*finite number, got nan"),
        ("train.epochs", True, "train.epochs: .*not a truth value, got True"),
        ("train.epochs", 0, "train.epochs: .*got 0"),
        ("patch.size", 100, "patch.size: .*multiple of 32, got 100"),
        (
            "data.train",
            ["drive", "drvie"],
            "data.train: .*chase_db1, .*another name defined in data.custom, got 'drvie'",
        ),
        ("data.test", [{}], r"data.test.0: .*string, got {}"),
        ("data.custom", {"HRF": "a"}, r"data\.custom\.HRF: expected a name that no other data set has$"),
        (
            "data.custom",
            {"Validation": "a"},
            r"data\.custom\.Validation: expected a name other than training, validation",
        ),
        ("data.custom", {"a": "a", "A": "b"}, r"data\.custom\.[aA]: expected a name that no other data set has$"),
        ("data.custom", {"clinic-a": "a"}, r"data\.custom: expected names of letters, digits and _, got 'clinic-a'"),
        ("data.custom", {"../a": "a"}, r"data\.custom: expected names of letters, digits and _, got '\.\./a'"),
        ("data.custom", {"a": 3}, r"data\.custom\.a: .*string, got 3"),
        ("data.test", [], "data.test: .*at least 1"),
        ("train.learning_rate", True, r"train\.learning_rate: expected a number.*, got True$"),
        ("data.test", ["drive", "drive"], r"data\.test: expected each data set once, got \[.drive., .drive.\]$"),
        (
            "data.test_fold",
            "6/5",
            r"data\.test_fold: .*expected k/n with 1 <= k <= n and n >= 2, e\.g\. 1/5, got '6/5'",
        ),
        ("baselines.filters", ["gabor"], "baselines.filters.0: .*'frangi'.*got 'gabor'"),
        ("baselines.filters", ["sato", "sato"], r"baselines\.filters: expected each filter once, got \[.*\]$"),
        ("evaluate.overlap", 513, r"evaluate\.overlap: expected at most half of tile \(1024\), got 513$"),
    ],
)
def test_bad_value_is_named(tmp_path, key, value, said):
    with pytest.raises(ValueError, match=said):
        load_params(written(tmp_path, key, value))


@pytest.mark.parametrize(
    "value", ["0/5", "1/1", "5", "1/5/9", "-1/5", "1.0/5", " 1/5", "٣/5", 0.2, True, [1, 5], {"a": 1}, ""]
)
def test_value_that_is_no_fold_is_rejected(tmp_path, value):
    with pytest.raises(ValueError, match=r"yaml: data\.test_fold: expected k/n .* got "):
        load_params(written(tmp_path, "data.test_fold", value))


def test_fold_is_read_and_needs_a_data_set_that_is_trained_and_tested_on(tmp_path):
    path = written(tmp_path, "data.test_fold", "5/5")
    assert load_params(path).data.test_fold == (5, 5)
    dumped = load_params(path).model_dump()
    assert dumped["data"]["test_fold"] == "5/5"
    assert Params.model_validate(dumped) == load_params(path)
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["data"]["train"] = ["drive"]
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(ValueError, match=r"yaml: data\.test_fold: .* in both .*, got \['drive'\] and \['phantom'\]$"):
        load_params(path)


def test_every_member_needs_a_seed(tmp_path):
    path = written(tmp_path, "train.seed", 2**32 - 1)
    assert load_params(path).train.ensemble_size == 1
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["train"]["ensemble_size"] = 3
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(ValueError, match=r"yaml: train\.seed: expected at most 4294967293 with an ensemble of 3, got"):
        load_params(path)


@pytest.mark.parametrize("value", [0, 0.5, "5e-1", 100, [0.5], ["5e-1"]])
def test_weight_of_skeleton_recall_is_a_number_or_a_list_and_stays_one(tmp_path, value):
    train = load_params(written(tmp_path, "train.skeleton_recall_weight", value)).train
    assert isinstance(train.skeleton_recall_weight, tuple) == isinstance(value, list)
    assert Train.model_validate(train.model_dump(mode="json")) == train


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([0.0, 0.5], r"expected a number, or 1 in a list \(train\.ensemble_size\), got 2"),
        ([], r"expected a number.*, got 0"),
        *(
            (value, "expected a number from 0 to 100, or a list of such")
            for value in (-1, [-1.0], 101, True, "a", None)
        ),
    ],
)
def test_weights_of_skeleton_recall_that_no_member_can_have_are_rejected(tmp_path, value, said):
    with pytest.raises(ValueError, match=rf"yaml: train\.skeleton_recall_weight: {said}[^;]*$"):
        load_params(written(tmp_path, "train.skeleton_recall_weight", value))


def test_threshold_must_be_given_where_nothing_is_held_out(tmp_path):
    path = written(tmp_path, "data.validation_fraction", 0)
    with pytest.raises(
        ValueError, match=r"yaml: evaluate\.threshold: expected a number .*validation_fraction is 0, got null$"
    ):
        load_params(path)
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["evaluate"]["threshold"] = 0.4
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert load_params(path).data.validation_fraction == 0
    values["train"]["patience"] = 3
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"train\.patience: expected null where data\.validation_fraction is 0, got 3$"
    ):
        load_params(path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("regression_gate.region", "disc", "regression_gate.region: .*'fov'.*got 'disc'"),
        ("regression_gate.tolerances", {"f1": "little"}, "regression_gate.tolerances.f1: .*number.*got 'little'"),
        (
            "regression_gate.tolerances",
            {"f1": -0.1},
            "regression_gate.tolerances.f1: .*greater than or equal to 0, got -0.1",
        ),
        ("regression_gate.tolerances", {}, "regression_gate.tolerances: .*at least 1"),
        ("regression_gate.bootstrap_resamples", 10, "regression_gate.bootstrap_resamples: .*got 10"),
        ("regression_gate.level", 0.9, "regression_gate.level: unknown key"),
    ],
)
def test_bad_value_of_the_gate_is_named_by_it_and_stops_no_stage(tmp_path, key, value, said):
    path = written(tmp_path, key, value)
    assert load_params(path) == load_params()
    with pytest.raises(ValueError, match=said):
        load_regression_gate(path)


def test_stages_run_without_the_section_of_the_gate(tmp_path):
    path = tmp_path / "params.yaml"
    values = {name: section for name, section in COMMITTED.items() if name in Params.model_fields}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert load_params(path) == load_params()
    with pytest.raises(ValueError, match=r"params\.yaml: regression_gate: missing$"):
        load_regression_gate(path)


@pytest.mark.parametrize(("value", "said"), [(0, "greater than 0, got 0"), ("long", "number.*got 'long'")])
def test_bad_days_of_checkpoints_are_named(tmp_path, value, said):
    path = written(tmp_path, "checkpoints.retention_days", value)
    assert load_params(path) == load_params()
    with pytest.raises(ValueError, match=f"checkpoints.retention_days: .*{said}"):
        load_checkpoints(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("record: !!timestamp soon", "expected YAML, got"),
        ("record: !!bool perhaps", "expected YAML, got"),
        ("record: 2001-99-99", "expected YAML, got"),  # which YAML takes for a date
        ("record: " + "9" * 5000, "expected YAML, got"),
        ("record: " + "[" * 3000, "expected YAML, got"),
        (
            "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
            "a7: unknown",
        ),
        (
            "loss:\n  gamma: &a0 [x, x]\n" + "".join(f"  b{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)),
            "gamma",
        ),
    ],
)
def test_hostile_file_gives_one_short_message(tmp_path, line, said):
    path = tmp_path / "params.yaml"
    path.write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"^{path}: .*{said}") as caught:
        load_params(path)
    assert type(caught.value) is ValueError
    assert len(str(caught.value)) < 5000


@pytest.mark.parametrize(
    "key",
    [
        "patch.size",
        "augment.n_per_patch",
        "train.epochs",
        "train.batch_size",
        "evaluate.bootstrap_resamples",
        "phantom.n_test",
        "plot.detail_size",
    ],
)
def test_number_that_no_machine_can_serve_is_rejected(tmp_path, key):
    with pytest.raises(ValueError, match=rf"{key}: .*less than or equal to \d+, got 3200000000$"):
        load_params(written(tmp_path, key, 3_200_000_000))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.sampled_from([f"{name}.{key}" for name in Params.model_fields for key in COMMITTED[name]]), value=VALUES
)
def test_any_value_is_taken_or_named(tmp_path, place, value):
    path = written(tmp_path, place, value)
    try:
        loaded = load_params(path)
    except ValueError as error:
        if type(error) is not ValueError or not str(error).startswith(f"{path}: ") or "\n" in str(error):
            raise AssertionError from error
    else:
        assert Params.model_validate(loaded.model_dump(mode="json")) == loaded


@pytest.mark.parametrize("section", Params.model_fields)
def test_missing_section_is_named(tmp_path, section):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in COMMITTED.items() if k != section}), encoding="utf-8")
    with pytest.raises(ValueError, match=f"{section}: missing"):
        load_params(path)


@pytest.mark.parametrize("load", [load_params, load_regression_gate])
@pytest.mark.parametrize("text", ["", "a: [", "- 1\n", "3", "data: null\n"])
def test_file_that_is_no_mapping_gives_one_message(tmp_path, text, load):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"params\.yaml"):
        load(path)


@pytest.mark.parametrize(("old", "new"), [item for item in RENAMED.items() if item[0].count(".") == 1])
def test_old_key_names_the_new_one(tmp_path, old, new):
    load = {"regression_gate": load_regression_gate, "checkpoints": load_checkpoints}.get(
        old.split(".")[0], load_params
    )
    with pytest.raises(ValueError, match=rf"{re.escape(old)}: renamed to {re.escape(new)}(;|$)"):
        load(written(tmp_path, old, 1))


def test_old_section_names_the_new_one(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(COMMITTED | {"regression": {}}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"regression: renamed to regression_gate$"):
        load_params(path)
