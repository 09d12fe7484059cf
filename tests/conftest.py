"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

torch.set_num_threads(max(1, min(2, torch.get_num_threads())))
SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def apoferritin() -> Path:
    """Return the folder of the real apo-ferritin session."""
    folder = SHARED / "real" / "apoferritin-10146"
    if not folder.is_dir():
        pytest.skip("the real apo-ferritin session is not beside the project")
    return folder
