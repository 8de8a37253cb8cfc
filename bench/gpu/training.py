"""The training loop over batches from the host, against the same steps over one that stays on the device."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bench.gpu.figures import Size, configuration, finish, seconds_of
from pipeline.config import validate
from pipeline.modalities.chance import CHANCE
from pipeline.models.batch import to_device
from pipeline.objectives.network import Objective
from pipeline.objectives.sealed import build
from pipeline.training.callbacks.base import Callback
from pipeline.training.loop import Recipe, Training
from pipeline.training.optimization import build_average, build_optimizer

CLASSES = [f"c{number}" for number in range(10)]
DIFFERENT = 4  # batches that lie in the host's memory
RATE, DECAY, AVERAGE, NORM = 1e-3, 0.05, 0.99, 1.0


def training(
    size: Size, device: torch.device, rounds: int, *, compiled: bool
) -> list[tuple[float, float]]:
    """(Seconds of our epoch, seconds of as many bare steps), of each round."""
    batches = Batches(size)
    bare = Bare(network(size, device, compiled=compiled), batches.ready[0], device, size.dtype)
    bare.run(2)  # what is compiled or chosen at first
    recipe = Recipe(
        rounds + 1,
        RATE,
        DECAY,
        max_gradient_norm=NORM,
        average_decay=AVERAGE,
        precision=size.dtype,
    )
    in_turn = InTurn(bare, size.steps, device)
    ours = network(size, device, compiled=compiled)
    Training(ours, batches, recipe, device=device, callbacks=[in_turn]).run()
    return in_turn.pairs[1:]  # the first epoch compiles, and chooses kernels


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


class Batches:
    """A feed of batches that are in the host's memory."""

    def __init__(self, size: Size) -> None:
        self.samples, self.steps, self.batch = 0, size.steps, size.batch
        source = build_targets(size)
        chance = torch.Generator().manual_seed(1)
        shape = (size.batch, size.image, size.image, 3)
        self.ready: list[dict[str, Tensor]] = [
            {
                "image": torch.randint(0, 256, shape, dtype=torch.uint8, generator=chance),
                "image_present": torch.ones(size.batch, dtype=torch.bool),
                CHANCE: torch.arange(size.batch),
                **source,
            }
            for _ in range(DIFFERENT)
        ]

    def num_batches(self, epoch: int) -> int:
        return self.steps

    def batches(self, epoch: int, start: int = 0) -> Iterator[dict[str, Tensor]]:
        self.samples = self.steps * self.batch
        for step in range(start, self.steps):
            yield self.ready[step % DIFFERENT]


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
        self.pairs: list[tuple[float, float]] = []

    def begin(self, training: Training) -> None:
        finish(self.device)
        self._began = time.perf_counter()

    def epoch_ended(self, training: Training, row: dict[str, float]) -> None:
        finish(self.device)  # the row's own seconds end before the device does
        ours = time.perf_counter() - self._began
        self.pairs.append((ours, seconds_of(lambda: self.bare.run(self.steps), self.device)))
        self._began = time.perf_counter()
