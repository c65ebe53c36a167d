"""A method of inversion that nobody would publish, written as one that is added to the table: a pair and a row."""

from __future__ import annotations

from types import ModuleType

import torch


def toy_row(contract: ModuleType):
    """The row, of the classes of a contract module: the core's own, or the pack's inside the host.

    Its path is straight: the direction that the model sees at the last step, as far as each sigma. The replay sums up
    the residuals, whatever the model says.
    """
    strength = contract.Setting(
        "strength", default=1.0, low=0.5, high=2.0, step=0.5, replayed=True, tooltip="toy: length of the path."
    )

    def invert(denoise, task):
        last = task.sigmas[-2]
        ahead = task.x0 * task.scale.stretch(last) / task.scale.stretch(task.sigmas[-1])
        direction = task.settings[strength] * (ahead - denoise(ahead, last)) / last
        states = torch.stack([task.x0 + (sigma - task.sigmas[-1]) * direction for sigma in task.sigmas])
        for step in range(len(task.sigmas) - 1):
            if task.on_step is not None:
                task.on_step(step, states[-2 - step], task.x0)
        return contract.Inverted(states, residuals=states.diff(dim=0), notes=("The toy went straight.",))

    def replay(denoise, task):
        states = [task.x]
        for step, (sigma, residual) in enumerate(zip(task.sigmas, task.residuals, strict=False)):
            denoised = denoise(states[-1], sigma)
            states.append(states[-1] + residual * task.settings[strength] / task.settings[strength])
            if task.on_step is not None:
                task.on_step(step, states[-1], denoised)
        return torch.stack(states)

    return contract.InversionMethod(
        "toy", invert, replay, source="ours", settings=(strength,), needs=contract.Needs(states=True, residuals=True)
    )
