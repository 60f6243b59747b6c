"""What transformers makes of images with a DINOv3 checkpoint: run as `dinov3.py REQUEST.json ANSWER.npz`.

The request: `path`, `images` (files), `sizes` (height and width that each is resized to), optionally `device`. The
answer holds for image i `pixels.i` [3, height, width] of the processor, which needs torchvision, and of the model
`cls.i` [dim] and `tokens.i` [n_tokens, dim]: class token, register tokens, patches.
"""

import json
import sys
from pathlib import Path
from typing import Any

import missing_operators  # noqa: F401 - before transformers
import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel


def main(request: dict[str, Any]) -> dict[str, np.ndarray]:
    processor = AutoImageProcessor.from_pretrained(request["path"])
    model = AutoModel.from_pretrained(request["path"], dtype=torch.float32).to(request.get("device", "cpu")).eval()
    answer = {}
    for i, (file, (height, width)) in enumerate(zip(request["images"], request["sizes"], strict=True)):
        size = {"height": height, "width": width}
        inputs = processor(Image.open(file), size=size, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            output = model(**inputs)
        answer[f"pixels.{i}"] = inputs["pixel_values"][0].cpu().numpy()
        answer[f"cls.{i}"] = output.pooler_output[0].cpu().numpy()
        answer[f"tokens.{i}"] = output.last_hidden_state[0].cpu().numpy()
    return answer


if __name__ == "__main__":
    np.savez(sys.argv[2], **main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
