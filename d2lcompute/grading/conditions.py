"""Under which conditions a run's kernels are started; the same for the reference and for all."""

from __future__ import annotations

import atexit
import functools
from dataclasses import dataclass

from ..notebooks.isolation import Isolation, Limits, clean_environment, find_isolation
from ..notebooks.kernel import Kernel, start_kernel
from ..notebooks.warm import PRELOAD, NotWarmError, WarmProcess


class NotIsolatedError(RuntimeError):
    """Student code can not be isolated here, and nobody allowed to run it all the same."""


@dataclass(frozen=True)
class Conditions:
    """Whether kernels are forked warm, must be isolated, and the seconds that a cell may take."""

    warm: bool = True
    allow_unisolated: bool = False
    seconds: float = 30.0

    @property
    def isolation(self) -> Isolation | None:
        """The best isolation of this machine, None where not even limits can be set.

        Raises `NotIsolatedError` where student code is not isolated and may not run all the same.
        """
        found, reason = None, ""
        try:
            found = find_isolation(self.warm)
            reason = "; ".join(f"{level}: {why}" for level, why in found.missed.items())
        except RuntimeError as error:
            reason = str(error)
        if self.allow_unisolated or (found and found.isolated):
            return found
        raise NotIsolatedError(
            f"student code can not be isolated on this machine ({reason}); "
            "do --allow-unisolated to run it with your rights"
        )

    @property
    def level(self) -> str:
        """The name of the isolation."""
        return self.isolation.level if self.isolation else "none"

    @property
    def gaps(self) -> tuple[str, ...]:
        """What the isolation does not hold back."""
        return self.isolation.gaps if self.isolation else ("student code has all of your rights",)

    def start(self) -> Kernel:
        """Start a kernel; raises `KernelError`."""
        # Its clock must not ring first: a submission has one of its own, for all its kernels.
        limits = Limits(seconds=20 * self.seconds)
        return start_kernel(self.isolation, _warm_process() if self.warm else None, limits)


@functools.cache
def _warm_process() -> WarmProcess | None:
    """Return this process's warm process, None where there can be none."""
    try:
        warm_process = WarmProcess((*PRELOAD, "d2lcompute.grading.answers"), clean_environment())
    except NotWarmError:
        return None
    atexit.register(warm_process.close)
    return warm_process
