import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.common import processor
from src.models import tensorflow_setup
from src.models.tensorflow_setup import tf

ROOT = Path(__file__).parents[2]
FAKE_TENSORFLOW = """
import os
os.write(2, b"while TensorFlow is imported\\n")

class config:
    def list_physical_devices():
        os.write(2, b"when TensorFlow looks for devices\\n")
"""
MESSAGES = ["while TensorFlow is imported", "when TensorFlow looks for devices"]


def test_one_device_needs_no_strategy():
    assert tensorflow_setup.distribution_strategy().num_replicas_in_sync == 1


@pytest.mark.parametrize(("gpus", "said"), [([], "the CPU"), (["one"], "a GPU"), (["one", "two"], "2 GPUs")])
def test_determinism_is_requested_where_tensorflow_has_it(gpus, said, monkeypatch):
    """On a GPU the gradient of nearest-neighbour upsampling would fail, and with it every training."""
    called = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: gpus)
    for owner, name in (
        (tf.config.experimental, "enable_tensor_float_32_execution"),
        (tf.config.experimental, "enable_op_determinism"),
        (tf.config.threading, "set_intra_op_parallelism_threads"),
        (tf.config.threading, "set_inter_op_parallelism_threads"),
    ):
        monkeypatch.setattr(owner, name, lambda *arguments, name=name: called.append((name, *arguments)))
    tensorflow_setup.configure(threads=3)
    on_cpu = [("set_intra_op_parallelism_threads", 3), ("set_inter_op_parallelism_threads", 3)]
    assert called == ([("enable_tensor_float_32_execution", False)] if gpus else [*on_cpu, ("enable_op_determinism",)])
    assert tensorflow_setup.describe_devices() == f"{said} in float32"


@pytest.mark.parametrize(
    ("described", "policy"),
    [
        (["x86_64", "flags\t: fpu avx2 avx512f", "model name\t: any"], "float32"),
        (["x86_64", "flags\t: fpu avx2 avx512_bf16 erms"], "mixed_bfloat16"),
        (["aarch64", "Features\t: fp asimd bf16"], "mixed_bfloat16"),
        (["arm64"], "mixed_bfloat16"),  # it does not tell
    ],
)
def test_mixed_precision_is_float32_on_a_processor_without_bfloat16(described, policy, monkeypatch):
    before = tf.keras.mixed_precision.global_policy()
    monkeypatch.setattr(processor, "describe_processor", lambda: described)
    try:
        tensorflow_setup.set_precision(mixed_precision=True)
        assert tf.keras.mixed_precision.global_policy().name == policy
        tensorflow_setup.set_precision(mixed_precision=False)
        assert tf.keras.mixed_precision.global_policy().name == "float32"
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


@pytest.mark.parametrize(
    ("described", "slow"),
    [
        (["x86_64", "flags\t: fpu avx2 fma"], True),
        (["x86_64", "flags\t: fpu avx2 avx512f"], False),
        (["aarch64", "Features\t: fp asimd"], False),
        (["arm64"], False),
    ],
)
def test_one_image_is_slow_on_x86_without_avx512_and_without_a_gpu(described, slow, monkeypatch):
    monkeypatch.setattr(processor, "describe_processor", lambda: described)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert not tensorflow_setup.is_slow_for_one_image()
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    assert tensorflow_setup.is_slow_for_one_image() == slow
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: ["a GPU"])
    assert not tensorflow_setup.is_slow_for_one_image()


def import_setup(folder: Path, path: Path, level: str | None = None) -> subprocess.CompletedProcess[str]:
    """Import the setup and the networks in a process that works in `folder`; `path` comes first on its path."""
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    environment |= {"PYTHONPATH": f"{path}{os.pathsep}{ROOT}"} | ({"TF_CPP_MIN_LOG_LEVEL": level} if level else {})
    command = [sys.executable, "-c", "from src.models import tensorflow_setup, architectures"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder that is a project, as it has parameters."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "params.yaml").touch()
    return folder


@pytest.fixture
def fake(tmp_path) -> Path:
    """A folder with a TensorFlow that prints as the real one does, on which no network can be built."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "tensorflow.py").write_text(FAKE_TENSORFLOW)
    (tmp_path / "fake" / "segmentation_models.py").write_text("raise ImportError('the error')")
    return tmp_path / "fake"


@pytest.mark.slow
def test_import_prints_nothing(project, tmp_path):
    done = import_setup(project, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (project / "logs" / "tensorflow.log").is_file()


def test_messages_of_tensorflow_go_to_the_log_and_errors_are_still_seen(project, fake):
    for _ in range(2):
        done = import_setup(project, fake)
        assert done.stderr.splitlines()[-1] == "ImportError: the error"
        assert not set(MESSAGES).intersection(done.stderr.splitlines())
    assert (project / "logs" / "tensorflow.log").read_text().splitlines() == 2 * MESSAGES


def test_error_while_tensorflow_is_imported_is_seen(project, fake):
    (fake / "tensorflow.py").write_text("raise ImportError('no TensorFlow')")
    assert import_setup(project, fake).stderr.splitlines()[-1] == "ImportError: no TensorFlow"


@pytest.mark.parametrize("level", ["0", "1"])
def test_messages_of_tensorflow_are_printed_on_request(project, fake, level):
    assert import_setup(project, fake, level).stderr.splitlines()[:2] == MESSAGES
    assert not (project / "logs").exists()


@pytest.mark.parametrize("place", ["outside a project", "where no log can be written"])
def test_messages_of_tensorflow_are_printed_where_there_is_no_log(project, fake, place):
    if place == "outside a project":
        (project / "params.yaml").unlink()
    else:
        (project / "logs").touch()
    assert import_setup(project, fake).stderr.splitlines()[:2] == MESSAGES
