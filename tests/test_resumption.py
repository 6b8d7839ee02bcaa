import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from src import backend, models, training
from src.backend import tf
from src.checkpoints import Store
from src.health import BadLossError
from src.params import load_checkpoints, load_params
from src.resumption import Memory, variables
from stages.train import recipe_of, remembered, rescued
from tests.test_training import LOSS, SCHEDULE, config, data, drawn, free_ports

PATIENT = SCHEDULE._replace(epochs=9, learning_rate=3.0, cosine=False, clip_norm=None, monitor="loss", patience=3)


class KilledError(Exception):
    """The process is no more."""


def network(seed: int) -> tf.keras.Model:
    """A small one with all that has a state: statistics of batches, random numbers of dropout."""
    backend.set_seed(seed)
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Rescaling(1 / 36, -128 / 36, input_shape=(None, None, 3)),
            layers.Conv2D(4, 3, padding="same"),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Conv2D(1, 1, activation="sigmoid", dtype="float32"),
        ]
    )


@pytest.fixture(autouse=True)
def generators():
    """Dropout draws from variables, as after `backend.configure`."""
    tf.keras.backend.experimental.enable_tf_random_generator()
    yield
    tf.keras.backend.experimental.disable_tf_random_generator()


def train(
    folder: Path, schedule: training.Schedule = SCHEDULE, members: int = 1, kill: tuple[int, int] | None = None
) -> tuple[list[np.ndarray], bytes]:
    """All variables of the members and the table after a training; KilledError in an epoch and step, both from 1."""
    tf.keras.backend.clear_session()
    memory, networks = Memory(Store(folder / "checkpoints")), []
    log = training.EpochLog(folder / "t.csv", memory.rows())

    class Killer(tf.keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict) -> None:
            if (log.epoch, batch + 1) == kill:
                raise KilledError

    with pytest.MonkeyPatch.context() as context:
        made = training._callbacks
        context.setattr(training, "_callbacks", lambda *arguments: [*made(*arguments), Killer()])
        for seed in range(1, members + 1):
            networks.append(network(seed))
            training.fit(networks[-1], LOSS, schedule, data(seed=seed), log, memory)
    log.write()
    values = [variable.numpy() for model in networks for variable in model.weights]
    return values + [variable.numpy() for variable in variables(networks[-1])], log.path.read_bytes()


def assert_same(one: tuple[list[np.ndarray], bytes], other: tuple[list[np.ndarray], bytes]) -> None:
    assert all(np.array_equal(a, b) for a, b in zip(one[0], other[0], strict=True))
    assert one[1] == other[1]


def killed(folder: Path, at: tuple[int, int], **more: object) -> None:
    with pytest.raises(KilledError):
        train(folder, kill=at, **more)


def test_killed_training_ends_like_the_undisturbed_one(tmp_path):
    undisturbed = train(tmp_path / "a")
    killed(tmp_path / "b", (1, 2))
    killed(tmp_path / "b", (2, 4))
    killed(tmp_path / "b", (3, 1))
    assert_same(undisturbed, train(tmp_path / "b"))


def test_training_goes_on_after_the_last_checkpoint(tmp_path):
    killed(tmp_path, (3, 1))
    memory = Memory(Store(tmp_path / "checkpoints"))
    assert memory.found.state["begin"] == 2
    assert [row[0] for row in memory.rows()] == ["epoch", 1, 2]


def test_damaged_checkpoint_costs_an_epoch_and_changes_nothing(tmp_path):
    undisturbed = train(tmp_path / "a")
    killed(tmp_path / "b", (3, 2))
    newest = Store(tmp_path / "b" / "checkpoints").paths()[0]
    newest.write_bytes(newest.read_bytes()[:-100])
    assert_same(undisturbed, train(tmp_path / "b"))


@pytest.mark.parametrize("epoch", [2, 4])
def test_early_stopping_goes_on_where_it_was(tmp_path, epoch):
    undisturbed = train(tmp_path / "a", PATIENT)
    rows = undisturbed[1].decode().count("\n") - 1
    assert rows < PATIENT.epochs
    killed(tmp_path / "b", (epoch, 2), schedule=PATIENT)
    assert_same(undisturbed, train(tmp_path / "b", PATIENT))


def test_training_that_had_ended_early_only_restores_its_best_weights(tmp_path, monkeypatch):
    undisturbed = train(tmp_path, PATIENT)
    monkeypatch.setattr(training.EpochLog, "on_epoch_begin", lambda *_: pytest.fail("an epoch more"))
    again = train(tmp_path, PATIENT)
    assert undisturbed[1] == again[1]
    assert all(np.array_equal(a, b) for a, b in zip(undisturbed[0], again[0], strict=True))


@pytest.mark.parametrize("at", [(2, 1), (4, 1), (5, 3)])
def test_members_go_on_where_they_were(tmp_path, at):
    undisturbed = train(tmp_path / "a", members=2)
    killed(tmp_path / "b", at, members=2)
    assert_same(undisturbed, train(tmp_path / "b", members=2))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_goes_on_with_the_scale_of_its_loss(tmp_path, policy):
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        undisturbed = train(tmp_path / "a")
        killed(tmp_path / "b", (3, 1))
        assert_same(undisturbed, train(tmp_path / "b"))
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def test_weights_that_are_no_numbers_are_not_kept(tmp_path, monkeypatch):
    def poison(log: training.EpochLog, epoch: int, logs: dict) -> None:
        note(log, epoch, logs)
        if epoch == 1:
            log.model.layers[-1].bias.assign([float("nan")])

    note = training.EpochLog.on_epoch_end
    monkeypatch.setattr(training.EpochLog, "on_epoch_end", poison)
    with pytest.raises(ValueError, match="a weight became NaN or infinite in epoch 2, step 4"):
        train(tmp_path)
    assert Memory(Store(tmp_path / "checkpoints")).found.state["begin"] == 1


SMALL = {
    "patch": {"size": 32},
    "model": {"architecture": "residual_unet", "filters": [4, 8]},
    "train": {"epochs": 4, "steps_per_epoch": 3, "batch_size": 2, "threads": 1},
}


def project(root: Path, **train: object) -> Path:
    """A folder in which stage train can run, on a few small patches."""
    values = load_params().model_dump(mode="json") | {"checkpoints": load_checkpoints().model_dump()}
    for section, changed in SMALL.items():
        values[section] |= changed
    values["train"] |= train
    for place in ("data/augmented", "data/patches/validation"):
        (root / place).mkdir(parents=True)
        for kind, array in drawn(side=32)._asdict().items():
            np.save(root / place / f"{kind}.npy", array)
    (root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return root


def change(root: Path, section: str, **values: object) -> None:
    """Change params.yaml."""
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params[section] |= values
    path.write_text(yaml.safe_dump(params), encoding="utf-8")


def stage(root: Path, **variables: str) -> subprocess.Popen:
    command = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]["train"]["cmd"].split()
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())} | variables
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, *command[1:]], cwd=root, env=environment, text=True, **streams)


def wait_for_checkpoint(root: Path, process: subprocess.Popen) -> None:
    while not list(root.glob("checkpoints/*/*.npz")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def finished(root: Path) -> tuple[bytes, bytes]:
    """The model file and the table that the stage writes."""
    process = stage(root)
    said = process.communicate()[1]
    assert process.returncode == 0, said
    assert not list(root.glob("checkpoints/*"))
    return results(root)


def results(root: Path) -> tuple[bytes, bytes]:
    return (root / "data" / "model" / "model.h5").read_bytes(), (root / "metrics" / "training.csv").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[bytes, bytes]:
    return finished(project(tmp_path_factory.mktemp("undisturbed")))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stage_that_is_killed_ends_with_the_same_bytes(tmp_path, undisturbed, number):
    root = project(tmp_path)
    process = stage(root)
    wait_for_checkpoint(root, process)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 1
        assert said.splitlines()[-1].startswith("stopped in epoch ")
        assert said.splitlines()[-1].endswith("; the same command goes on from there")
        assert not list(root.rglob("*.part"))
    assert not (root / "data" / "model").exists()
    assert finished(root) == undisturbed


@pytest.mark.parametrize("alike", [True, False])
def test_workers_end_with_the_same_files_or_say_that_their_patches_differ(tmp_path, alike):
    roots, ports = [project(tmp_path / name) for name in ("first", "second")], free_ports(2)
    if not alike:
        np.save(roots[1] / "data/augmented/images.npy", drawn(side=32).images + np.uint8(1))
    processes = [stage(root, TF_CONFIG=config(ports, index)) for index, root in enumerate(roots)]
    try:
        said = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    if alike:
        assert [process.returncode for process in processes] == [0, 0], said
        assert results(roots[0]) == results(roots[1])
    else:
        assert [process.returncode for process in processes] == [1, 1]
        assert all("error: TF_CONFIG: expected all 2 workers to have the same patches" in text for text in said)
        assert all(text.splitlines()[-1].endswith("got others at 1") for text in said)


def test_pairs_of_networks_go_on_as_well_and_keep_one_answer(tmp_path):
    roots = [project(tmp_path / name, members=2) for name in ("whole", "killed")]
    for root in roots:
        change(root, "model", architecture="residual_w_net")
    process = stage(roots[1])
    wait_for_checkpoint(roots[1], process)
    process.kill()
    process.communicate()
    assert finished(roots[0]) == finished(roots[1])
    assert models.load(roots[0] / "data" / "model" / "model.h5").output_shape == (None, None, None, 1)


def test_training_with_other_params_begins_anew(tmp_path):
    root = project(tmp_path)
    process = stage(root)
    wait_for_checkpoint(root, process)
    process.kill()
    process.communicate()
    (first,) = root.glob("checkpoints/*")
    change(root, "loss", gamma=3.0)
    process = stage(root)
    said = process.communicate()[1]
    assert process.returncode == 0, said
    assert "0/12" in said  # steps
    assert list(root.glob("checkpoints/*")) == [first]


def test_narrow_vessels_may_count_more(tmp_path, undisturbed):
    model, table = finished(project(tmp_path, narrow_weight=3.0))
    assert model != undisturbed[0]
    assert table != undisturbed[1]


def test_checkpoints_lie_at_the_real_root_of_an_experiment(tmp_path, monkeypatch):
    params = load_params()
    places = [project(tmp_path / name) for name in ("root", "root/.dvc/tmp/exps/standalone/tmp1")]
    folders = []
    for place in places:
        monkeypatch.chdir(place)
        inputs = [Path("data/augmented"), Path("data/patches/validation")]
        recipe = recipe_of(params.model, params.loss, params.train, inputs)
        folders.append(remembered(recipe, days=1).store.folder)
    assert folders[0] == folders[1]
    assert folders[0].parent == tmp_path / "root" / "checkpoints"


def test_same_training_at_the_same_time_harms_no_checkpoint_and_both_end_alike(tmp_path, undisturbed):
    """The first is held still after an epoch, for as long as the second takes; then it is killed, and resumed."""
    first, second = (project(tmp_path / ".dvc/tmp/exps/standalone" / name) for name in ("tmp1", "tmp2"))
    process = stage(first)
    wait_for_checkpoint(tmp_path, process)
    process.send_signal(signal.SIGSTOP)
    kept = list(tmp_path.glob("checkpoints/*/*.npz"))
    other = stage(second)
    said = other.communicate()[1]
    assert (other.returncode, results(second)) == (0, undisturbed), said
    assert "warning: the same training is running; this one keeps no checkpoints" in said
    assert list(tmp_path.glob("checkpoints/*/*.npz")) == kept
    process.kill()
    process.communicate()
    again = stage(first)
    said = again.communicate()[1]
    assert (again.returncode, results(first)) == (0, undisturbed), said
    assert " 0/12 [" not in said  # steps
    assert not list(tmp_path.glob("checkpoints/*"))


DVC = [sys.executable, "-m", "dvc"]
OUTS = ("data/model/model.h5", "metrics/training.csv")


def repository(root: Path) -> Path:
    """A project with stage train alone, committed with its patches, in which DVC can run experiments."""
    project(root)
    outs = [{name: {"cache": False}} for name in OUTS]
    command = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]["train"]["cmd"].split()
    train = {"cmd": shlex.join([sys.executable, *command[1:]]), "deps": ["params.yaml"], "outs": outs}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": train}}), encoding="utf-8")
    (root / ".gitignore").write_text("/checkpoints\n", encoding="utf-8")
    user = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for order in (["git", "init", "-q"], [*DVC, "init", "-q"], ["git", "add", "."], [*user, "commit", "-qm", "begin"]):
        subprocess.run(order, cwd=root, check=True, capture_output=True)
    return root


def experiment(root: Path) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(Path.cwd()), "TRACKING_LIVE": "false"}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    command = [*DVC, "exp", "run", "--temp"]
    return subprocess.Popen(command, cwd=root, env=environment, text=True, start_new_session=True, **streams)


def test_killed_experiment_ends_with_the_same_bytes(tmp_path, undisturbed):
    root = repository(tmp_path)
    process = experiment(root)
    wait_for_checkpoint(root, process)
    os.killpg(process.pid, signal.SIGKILL)  # DVC, its shell and the stage
    process.communicate()
    assert list(root.glob("checkpoints/*/*.npz"))
    process = experiment(root)
    said = process.communicate()[1]
    assert process.returncode == 0, said
    assert "/12 [" in said  # steps
    assert " 0/12 [" not in said
    git = ["git", "for-each-ref", "--format=%(objectname)", "refs/exps"]
    (commit, *_) = subprocess.run(git, cwd=root, check=True, capture_output=True, text=True).stdout.split()
    shown = [
        subprocess.run(["git", "show", f"{commit}:{name}"], cwd=root, check=True, capture_output=True) for name in OUTS
    ]
    assert tuple(done.stdout for done in shown) == undisturbed
    assert not list(root.glob("checkpoints/*"))


def test_other_gpu_is_another_training(tmp_path, monkeypatch):
    """There is no GPU here: TensorFlow is made to tell of one."""
    found = {"device_name": "NVIDIA A100", "compute_capability": (8, 0)}
    monkeypatch.chdir(project(tmp_path))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: found)
    folders = {remembered("ab", days=1).store.folder for _ in range(2)}
    for change in ({"device_name": "NVIDIA H100"}, {"compute_capability": (9, 0)}):
        found |= change
        folders.add(remembered("ab", days=1).store.folder)
    assert len(folders) == 3


@pytest.mark.parametrize("architecture", models.COMPACT)
def test_best_network_is_kept_when_the_loss_is_no_number(tmp_path, architecture):
    tf.keras.backend.clear_session()
    model, memory = models.build(architecture, "", None, (4, 8), 32), Memory(Store(tmp_path))
    sentence = rescued(BadLossError("the loss became nan", model, 2, "the best of all"), memory)
    path = tmp_path / "best.h5"
    assert sentence == f"the loss became nan; the network of epoch 2, the best of all, is kept as {path}"
    assert models.load(path).output_shape[-1] == 1
    pairs = zip(models.load(path).get_weights(), model.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert memory.store.newest() is None  # it is no checkpoint
