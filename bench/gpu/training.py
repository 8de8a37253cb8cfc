"""The training loop over batches from the host, against the same steps over one that stays on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from bench.gpu.figures import Size, clock, configuration, finish, seconds_of
from pipeline.config import validate
from pipeline.modalities.chance import CHANCE
from pipeline.models.batch import to_device
from pipeline.objectives.network import Objective
from pipeline.objectives.sealed import build
from pipeline.training.callbacks.base import Callback
from pipeline.training.feed import num_rows
from pipeline.training.loop import Training
from pipeline.training.optimization.average import build_average
from pipeline.training.optimization.optimizers import build_optimizer
from pipeline.training.recipe import Recipe

Pair = tuple[float, float]
CLASSES = [f"c{number}" for number in range(10)]
DIFFERENT = 4  # batches that lie in the host's memory
RATE, DECAY, AVERAGE, NORM = 1e-3, 0.05, 0.99, 1.0


def training(size: Size, device: torch.device, rounds: int, *, compiled: bool) -> list[Pair]:
    """(Seconds of our epoch, seconds of as many bare steps), of each round."""
    return in_turn(
        lambda: network(size, device, compiled=compiled),
        batches_of(size),
        device,
        size.dtype,
        rounds,
        size.steps,
    )


def in_turn(
    made: Callable[[], Objective],
    ready: Sequence[dict[str, Tensor]],
    device: torch.device,
    dtype: torch.dtype,
    rounds: int,
    steps: int,
) -> list[Pair]:
    """Epochs of our loop over batches from the host, each followed by as many bare steps over one on the device.

    Args:
        made: Builds the network, on the device and in training mode; the same each time.
        ready: Batches in the host's memory.
        device: Where they are computed.
        dtype: Of matrix products.
        rounds: Epochs, besides one that compiles and chooses kernels.
        steps: Of an epoch.

    Returns:
        (Seconds of our epoch, seconds of the bare steps), of each round.
    """
    bare = Bare(made(), ready[0], device, dtype)
    bare.run(2)  # what is compiled or chosen at first
    recipe = Recipe(
        rounds + 1,
        learning_rate=RATE,
        weight_decay=DECAY,
        max_gradient_norm=NORM,
        average_decay=AVERAGE,
        precision=dtype,
    )
    callback = InTurn(bare, steps, device)
    Training(made(), Batches(ready, steps), recipe, device=device, callbacks=[callback]).run()
    return callback.pairs[1:]


def network(size: Size, device: torch.device, *, compiled: bool) -> Objective:
    """The network that is trained, its convolutions with the channels last."""
    torch.manual_seed(0)
    config = validate(configuration(size))
    made = build(config.require_objective(), config.modalities, {"classes": CLASSES})
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    made = made.to(device).train()
    if compiled:
        for encoder in made.get_submodule("encoders").children():
            encoder.compile(dynamic=False)
    return made


def batches_of(size: Size) -> list[dict[str, Tensor]]:
    """Batches of images by chance, with labels."""
    chance = torch.Generator().manual_seed(1)
    shape = (size.batch, size.image, size.image, 3)
    targets = build_targets(size)
    return [
        {
            "image": torch.randint(0, 256, shape, dtype=torch.uint8, generator=chance),
            "image_present": torch.ones(size.batch, dtype=torch.bool),
            CHANCE: torch.arange(size.batch),
            **targets,
        }
        for _ in range(DIFFERENT)
    ]


class Batches:
    """A feed of batches that are in the host's memory; nobody goes on within an epoch."""

    position, keys = 0, None
    order: Mapping[str, int] = {}

    def __init__(self, ready: Sequence[dict[str, Tensor]], steps: int) -> None:
        self.samples, self.steps, self.ready = 0, steps, ready

    def num_batches(self, epoch: int) -> int:
        return self.steps

    def batches(self, epoch: int, start: int = 0) -> Iterator[dict[str, Tensor]]:
        self.samples = self.steps * num_rows(self.ready[0])
        for step in range(start, self.steps):
            yield self.ready[step % len(self.ready)]


def build_targets(size: Size) -> dict[str, Tensor]:
    """What the objective makes of a batch's labels."""
    made = network(size, torch.device("cpu"), compiled=False)
    return made.targets([CLASSES[row % len(CLASSES)] for row in range(size.batch)])


class Bare:
    """The steps as one writes them by hand."""

    def __init__(
        self,
        made: Objective,
        batch: dict[str, Tensor],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.made, self.device, self.dtype = made, device, dtype
        self.batch = to_device(batch, device)
        self.optimizer = build_optimizer(made, RATE, DECAY)
        self.average = build_average(made, AVERAGE)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                loss, _ = self.made.loss(self.batch)
            loss.backward()
            nn.utils.clip_grad_norm_(self.made.parameters(), NORM)
            self.optimizer.step()
            self.average.update_parameters(self.made)


class InTurn(Callback):
    """Runs the bare steps after each of our epochs."""

    def __init__(self, bare: Bare, steps: int, device: torch.device) -> None:
        self.bare, self.steps, self.device = bare, steps, device
        self.pairs: list[Pair] = []

    def begin(self, training: Training) -> None:
        finish(self.device)
        self._began = clock(self.device)

    def epoch_ended(self, training: Training, row: dict[str, float]) -> None:
        finish(self.device)  # the row's own seconds end before the device does
        ours = clock(self.device) - self._began
        self.pairs.append((ours, seconds_of(lambda: self.bare.run(self.steps), self.device)))
        self._began = clock(self.device)
