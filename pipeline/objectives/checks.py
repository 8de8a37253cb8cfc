"""What an objective refuses: in a configuration, before anything is read, and of samples that training decodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.modalities.decoding.targets import Target, fields_at

if TYPE_CHECKING:
    from pipeline.modalities.base import ModalityConfig


SampleCheck = Callable[[pa.Table], Mapping[int, SampleError]]
"""Decoded samples and their targets -> by row, what is wrong with some, or odd where the reason is one of ``NOTES``."""


class Checks:
    """What an objective is asked before it learns; all but one refuse nothing unless an objective does."""

    def targets(self, learned: Any = None) -> Target | None:
        """See :meth:`pipeline.objectives.base.ObjectiveSection.targets`."""
        raise NotImplementedError

    def check_inputs(self, modalities: Mapping[str, ModalityConfig]) -> None:
        """Refuses modalities that it can do nothing with, and settings that do not go with them.

        Args:
            modalities: Name -> section, in the order of the configuration.

        Raises:
            ValueError: Names the setting.
        """

    def check_fields(self, fields: Mapping[str, Sequence[str]]) -> None:
        """Refuses modalities that read what is to be found out, which would hand the network its answer.

        Args:
            fields: Modality -> the fields that it reads.

        Raises:
            ValueError: One does; names the setting.
        """
        target = self.targets()
        places = () if target is None else target.places
        for place in places:
            for name, read in fields.items():
                shared = sorted(fields_at([place]).intersection(read))
                if target is not None and shared:
                    raise ValueError(
                        f"{target.setting}: {place} is what the model is to find out, and modalities.{name} would show "
                        f"it {shared[0]}; leave {name} out, or set modalities.{name}.fields to other fields"
                    )

    def sample_check(
        self, modalities: Mapping[str, ModalityConfig], learned: Any
    ) -> SampleCheck | None:
        """What looks at decoded samples that are to be learned, beside their targets; None where nothing has to.

        Args:
            modalities: As of :meth:`check_inputs`.
            learned: Of :meth:`pipeline.objectives.base.ObjectiveSection.learn`.

        Returns:
            A picklable function that imports no torch.
        """
        return None

    def check_training(self, *, validates: bool) -> None:
        """Refuses settings that a training could not keep to.

        Args:
            validates: Whether there is a validation split.

        Raises:
            ConfigError: Names the setting.
        """
