from typing import Any

import numpy as np

INSTRUCTIONS: str

def infer(
    image: np.ndarray[Any, Any],
    energies: np.ndarray[Any, Any],
    probabilities: np.ndarray[Any, Any],
    labels: int,
    height: int,
    width: int,
    smoothness: tuple[float, ...],
    appearance: tuple[float, ...],
    iterations: int,
    /,
) -> None: ...
