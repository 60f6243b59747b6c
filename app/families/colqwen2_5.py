"""ColQwen2.5: Qwen2.5-VL with ColPali's projection."""

from torch import nn
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel

from app.families.catalog import CATALOG
from app.families.qwen_vl import NOT_NEEDED, QwenVisualModel
from app.families.visual_model import PROJECTION_DIM


class ColQwen2_5(Qwen2_5_VLModel):  # type: ignore[misc]  # noqa: N801 - the class's name in checkpoints
    """The backbone with the projection that `QwenVisualModel` applies to its last hidden states."""

    _keys_to_ignore_on_load_unexpected = NOT_NEEDED

    def __init__(self, config: Qwen2_5_VLConfig) -> None:
        super().__init__(config)
        self.custom_text_proj = nn.Linear(config.text_config.hidden_size, PROJECTION_DIM)
        self.post_init()


class ColQwen2_5Model(QwenVisualModel):  # noqa: N801
    """Models of the family `colqwen2.5`."""

    spec = CATALOG["colqwen2.5"]
    module_class = ColQwen2_5
