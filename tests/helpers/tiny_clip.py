"""A CLIP with everything it takes, and small enough to have random weights."""

import json
from pathlib import Path

TOWERS = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 24, "heads": 2, "layers": 2},
}


def write_towers(folder: Path) -> str:
    """Write its description, and return what to call it by."""
    path = folder / "tiny-clip.json"
    path.write_text(json.dumps(TOWERS))
    return str(path)
