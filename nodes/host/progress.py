"""One progress bar, preview and interrupt check for a whole walk, however it is cut into chunks."""

from __future__ import annotations

import comfy.model_management
import comfy.utils
import latent_preview
from comfy.model_patcher import ModelPatcher
from torch import Tensor


class WalkProgress:
    """Progress over equal units of work, shown by the host's own bar and previewer.

    units:  model steps of all chunks together
    raises: the host's InterruptProcessingException, from every call, once the user has pressed stop
    """

    def __init__(self, model: ModelPatcher, units: int):
        self.done = 0
        self.units = max(1, units)
        self._bar = comfy.utils.ProgressBar(self.units)
        self._previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)

    def callback(self, step: int, x0: Tensor, x: Tensor, total_steps: int) -> None:
        """Previews x0 ([n, C, ...], model units) and advances the bar, as the host's callback of a sampler."""
        stop_if_interrupted()
        preview = self._previewer.decode_latent_to_preview_image("JPEG", x0) if self._previewer else None
        self._bar.update_absolute(min(self.done + step + 1, self.units), self.units, preview)

    def advance(self, units: int) -> None:
        """Ends a chunk of so many units, however often its sampler called back."""
        stop_if_interrupted()
        self.done = min(self.done + units, self.units)  # work that is repeated after memory ran out counts once
        self._bar.update_absolute(self.done, self.units)


def stop_if_interrupted() -> None:
    """Raises the host's InterruptProcessingException once the user has pressed stop."""
    comfy.model_management.throw_exception_if_processing_interrupted()
