"""ColQwen2: Qwen2-VL with ColPali's projection."""

from torch import nn
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel

from app.families.catalog import CATALOG
from app.families.qwen_vl import NOT_NEEDED, QwenVisualModel
from app.families.visual_model import PROJECTION_DIM


class ColQwen2(Qwen2VLModel):  # type: ignore[misc]
    """The backbone with the projection that `QwenVisualModel` applies to its last hidden states."""

    _keys_to_ignore_on_load_unexpected = NOT_NEEDED

    def __init__(self, config: Qwen2VLConfig) -> None:
        super().__init__(config)
        self.custom_text_proj = nn.Linear(config.text_config.hidden_size, PROJECTION_DIM)
        self.post_init()


class ColQwen2Model(QwenVisualModel):
    """Models of the family `colqwen2`."""

    spec = CATALOG["colqwen2"]
    module_class = ColQwen2
