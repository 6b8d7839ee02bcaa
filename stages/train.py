"""Train the network on the augmented patches."""

import sys
from pathlib import Path

from tqdm import tqdm

from src import backend, checkpoints, cluster, health, live, losses, models, patches, training
from src.backend import tf
from src.cli import run
from src.params import Loss, Model, Train, load_checkpoints
from src.resumption import Memory
from src.root import real_root


def main(
    augmented: Path,
    validation: Path,
    model_file: Path,
    table: Path,
    model: Model,
    loss: Loss,
    train: Train,
    checkpoint_days: float,
) -> None:
    """Read both sets of patches, fit, write the network (.h5) and a row of scores an epoch (.csv).

    On one device, a training that was stopped goes on from its last checkpoint. Several workers (see `cluster`) each
    read both sets, which must be the same, and each writes the same.
    """
    workers = cluster.read().workers
    backend.configure(train.threads, train.seed, train.mixed_precision)
    pool, held_out = patches.read(augmented), patches.read_if_any(validation)
    strategy = backend.strategy(workers)
    replicas = strategy.num_replicas_in_sync
    tqdm.write(f"training on {backend.described()}", file=sys.stderr)
    if backend.emulates_bfloat16(checkpoints.processor()):
        tqdm.write("warning: train.mixed_precision: no bfloat16 in this processor; false is faster", file=sys.stderr)
    if replicas > 1:
        tqdm.write(f"warning: a training on {replicas} devices keeps no checkpoints", file=sys.stderr)
    recipe = recipe_of(model, loss, train, [augmented, validation])
    if workers > 1:
        cluster.refuse_other_recipes(backend.gathered(strategy, recipe))
    memory = remembered(recipe, checkpoint_days) if replicas == 1 else None
    data = training.Data(pool, held_out, train.batch_size, train.seed, replicas)
    log = training.EpochLog(table, memory.rows() if memory else [])
    try:
        with strategy.scope():
            network = models.mean(members(data, log, model, loss, train, memory))
    except health.BadLossError as error:
        raise ValueError(rescued(error, memory)) from error
    except KeyboardInterrupt:
        promise = memory.promise() if memory else "this training keeps no checkpoints"
        raise KeyboardInterrupt(f"stopped in epoch {log.epoch}; {promise}") from None
    models.save(models.in_float32(network), model_file)  # which must not be in the scope: it clears the session
    log.write()
    if memory:
        memory.store.clear()


def recipe_of(model: Model, loss: Loss, train: Train, inputs: list[Path]) -> str:
    """The recipe (see `checkpoints`) of a training with these sections of params.yaml and these folders of patches."""
    weights = Path(model.encoder_weights or "")
    params = {"model": model.model_dump(), "loss": loss.model_dump(), "train": train.model_dump()}
    return checkpoints.recipe(params, [*inputs, weights] if weights.is_file() else inputs)


def remembered(recipe: str, days: float) -> Memory | None:
    """What is left of the same training, begun before and stopped; None where it is running, in another process."""
    key = checkpoints.key(recipe, backend.devices())
    root = real_root(Path.cwd()) / checkpoints.FOLDER
    checkpoints.prune(root, days, but=key)
    store = checkpoints.Store(root / key)
    if not store.claim():
        tqdm.write("warning: the same training is running; this one keeps no checkpoints", file=sys.stderr)
        return None
    return Memory(store)


def members(
    data: training.Data, log: training.EpochLog, model: Model, loss: Loss, train: Train, memory: Memory | None
) -> list[tf.keras.Model]:
    """The trained networks."""
    schedule = training.Schedule(
        epochs=train.epochs,
        steps_per_epoch=train.steps_per_epoch or -(-len(data.train.images) // train.batch_size),
        learning_rate=train.learning_rate,
        warmup=train.warmup,
        cosine=train.schedule == "cosine",
        clip_norm=train.clip_norm,
        monitor=train.monitor,
        patience=train.patience,
    )
    lowered = losses.weighing_narrow(losses.get(**loss.model_dump()), train.narrow_weight)
    networks = []
    for seed in range(train.seed, train.seed + train.members):
        backend.set_seed(seed)
        network = models.build(**model.model_dump(), size=data.train.images.shape[1])
        training.fit(network, lowered, schedule, data._replace(seed=seed), log, memory)
        networks.append(models.final(network))
    return networks


def rescued(error: health.BadLossError, memory: Memory | None) -> str:
    """The sentence of the error, and which network is kept with the checkpoints, to look at."""
    if memory is None or error.epoch is None:
        return str(error)
    path = memory.store.folder / "best.h5"
    models.save(models.in_float32(models.final(error.model)), path)
    return f"{error}; the network of epoch {error.epoch}, {error.kind}, is kept as {path}"


if __name__ == "__main__":
    paths = [Path(argument) for argument in sys.argv[1:5]]
    watched = live.watched(*paths[2:])(main)
    run(lambda params: watched(*paths, params.model, params.loss, params.train, load_checkpoints().days))
