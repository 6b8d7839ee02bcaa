import sys

import pytest

from experiments import numerical_variability
from experiments.short_training import read_changes, with_params
from src.params import load_params


@pytest.mark.parametrize("text", ["loss.name", "=bce", ""])
def test_change_that_is_no_key_and_value_is_rejected(text):
    with pytest.raises(ValueError, match=f"^expected KEY=VALUE, got '{text}'$"):
        read_changes([text])


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("loss.gamma", "^params.yaml: loss.gamma: .*, got -1$"),
        ("loss.delta", "^params.yaml: loss.delta: unknown key$"),
        ("losses.gamma", "^losses.gamma: expected a parameter of params.yaml, got another key$"),
    ],
)
def test_changes_that_params_cannot_have_are_named(key, said):
    with pytest.raises(ValueError, match=said):
        with_params(load_params(), {key: -1})


def test_program_rejects_a_change_before_it_trains(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["program", "data.splits.drive=all", "loss.gamma=-1"])
    with pytest.raises(SystemExit):
        numerical_variability.main()
    assert "error: params.yaml: loss.gamma: " in capsys.readouterr().err
