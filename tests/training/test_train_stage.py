import pytest

from src.models import tensorflow_setup
from stages import train


@pytest.mark.parametrize(
    ("asked", "supported", "warned"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_mixed_precision_that_the_processor_lacks_is_told(asked, supported, warned, monkeypatch, capsys):
    monkeypatch.setattr(tensorflow_setup, "supports_mixed_precision", lambda: supported)
    train.print_devices(1, asked)
    assert ("warning: train.mixed_precision has no effect" in capsys.readouterr().err) == warned
