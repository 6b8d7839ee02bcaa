"""Train the network on the augmented patches."""

import functools
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from src.common.project_root import real_root
from src.models import architectures, losses, model_io, tensorflow_setup
from src.models.tensorflow_setup import tf
from src.params import Loss, Model, Train, load_checkpoints
from src.preprocessing import patch_storage
from src.stage_runner import run_stage
from src.training import checkpoint_store, live_logging, multi_worker, trainer
from src.training.divergence_guard import DivergenceError
from src.training.epoch_log import EpochLog
from src.training.resume import TrainingState


def main(
    augmented: Path,
    validation: Path,
    model_file: Path,
    table: Path,
    model: Model,
    loss: Loss,
    train: Train,
    retention_days: float,
) -> None:
    """Read the patches of training and validation, train, write the network (.h5) and a row of scores an epoch (.csv).

    On one device, a training that was stopped resumes from its last checkpoint. Several workers (see `multi_worker`)
    each read the same patches and write the same files.
    """
    workers = multi_worker.read_cluster().workers
    tensorflow_setup.configure(train.cpu_threads, train.seed, train.mixed_precision)
    training_patches, validation_patches = patch_storage.read(augmented), patch_storage.read_or_none(validation)
    strategy = tensorflow_setup.distribution_strategy(workers)
    replicas = strategy.num_replicas_in_sync
    print_devices(replicas, train.mixed_precision)
    fingerprint = training_fingerprint(model, loss, train, [augmented, validation])
    if workers > 1:
        multi_worker.check_same_fingerprint(tensorflow_setup.gather_fingerprints(strategy, fingerprint))
    training_state = open_training_state(fingerprint, retention_days) if replicas == 1 else None
    log = EpochLog(table, training_state.table_rows() if training_state else [])
    data = trainer.TrainingData(
        training_patches, validation_patches, train.batch_size, train.seed, replicas, train.crop_size
    )
    try:
        with strategy.scope():
            network = architectures.ensemble_average(train_members(data, log, model, loss, train, training_state))
    except DivergenceError as error:
        raise ValueError(save_best_network(error, training_state)) from error
    except KeyboardInterrupt:
        resume = training_state.describe_resume() if training_state else "this training keeps no checkpoints"
        raise KeyboardInterrupt(f"stopped in epoch {log.epoch}; {resume}") from None
    model_io.save(model_io.as_float32(network), model_file)  # outside the scope: as_float32 clears the session
    log.write()
    if training_state:
        training_state.store.delete()


def print_devices(replicas: int, mixed_precision: bool) -> None:
    """Print what the training runs on, with warnings of what this costs."""
    tqdm.write(f"training on {tensorflow_setup.describe_devices()}", file=sys.stderr)
    if mixed_precision and not tensorflow_setup.supports_mixed_precision():
        tqdm.write("warning: train.mixed_precision has no effect: this processor has no bfloat16", file=sys.stderr)
    if replicas > 1:
        tqdm.write(f"warning: a training on {replicas} devices keeps no checkpoints", file=sys.stderr)


def training_fingerprint(model: Model, loss: Loss, train: Train, inputs: list[Path]) -> str:
    """Compute the fingerprint of a training with these sections of params.yaml and these folders of patches."""
    weights = Path(model.encoder_weights or "")
    params = {"model": model.model_dump(), "loss": loss.model_dump(), "train": train.model_dump()}
    return checkpoint_store.training_fingerprint(params, [*inputs, weights] if weights.is_file() else inputs)


def open_training_state(fingerprint: str, retention_days: float) -> TrainingState | None:
    """Open what a stopped training of this fingerprint left; None while another process runs the same training."""
    key = checkpoint_store.checkpoint_key(fingerprint, tensorflow_setup.list_devices())
    root = real_root(Path.cwd()) / checkpoint_store.FOLDER
    checkpoint_store.prune(root, retention_days, kept_key=key)
    store = checkpoint_store.CheckpointStore(root / key)
    if not store.acquire():
        tqdm.write("warning: the same training is running; this one keeps no checkpoints", file=sys.stderr)
        return None
    return TrainingState(store)


def train_members(
    data: trainer.TrainingData,
    log: EpochLog,
    model: Model,
    loss: Loss,
    train: Train,
    training_state: TrainingState | None,
) -> list[tf.keras.Model]:
    """Train the members of the ensemble, each from a seed of its own."""
    schedule = trainer.TrainingSchedule(
        epochs=train.epochs,
        steps_per_epoch=train.steps_per_epoch or -(-len(data.train.images) // train.batch_size),
        learning_rate=train.learning_rate,
        warmup_fraction=train.warmup_fraction,
        cosine=train.lr_schedule == "cosine",
        clip_norm=train.clip_norm,
        monitor=train.monitor,
        patience=train.patience,
    )
    weighted_loss = losses.weight_thin_vessels(losses.get(**loss.model_dump()), train.thin_vessel_weight)
    members = []
    for seed, skeleton_recall_weight in enumerate(skeleton_recall_weights(train), train.seed):
        tensorflow_setup.set_seed(seed)
        network = architectures.build(**model.model_dump(), size=train.crop_size or data.train.images.shape[1])
        full_loss = losses.add_skeleton_recall(weighted_loss, skeleton_recall_weight)
        trainer.fit(network, full_loss, schedule, data._replace(seed=seed), log, training_state)
        members.append(architectures.inference_head(network))
    return members


def skeleton_recall_weights(train: Train) -> tuple[float, ...]:
    """Return the weight of skeleton recall of each member of the ensemble."""
    given = train.skeleton_recall_weight
    return given if isinstance(given, tuple) else (given,) * train.ensemble_size


def save_best_network(error: DivergenceError, training_state: TrainingState | None) -> str:
    """Save the network of the error, if it is sound, beside the checkpoints; return the message that says so."""
    if training_state is None or error.epoch is None:
        return str(error)
    path = training_state.store.folder / "best.h5"
    model_io.save(model_io.as_float32(architectures.inference_head(error.model)), path)
    return f"{error}; the network of epoch {error.epoch}, {error.description}, is kept as {path}"


@functools.wraps(main)
def main_with_live_logging(model_file: Path, table: Path, **arguments: Any) -> None:
    """Run `main` while another process logs its learning curves to MLflow."""
    with live_logging.logger_process(model_file, table):
        main(model_file=model_file, table=table, **arguments)


if __name__ == "__main__":
    run_stage(
        main_with_live_logging,
        lambda params: {
            "model": params.model,
            "loss": params.loss,
            "train": params.train,
            "retention_days": load_checkpoints().retention_days,
        },
    )
