"""Every setting of the server, read once from environment variables (or `.env`) and never changed."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

REPO = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """The server's settings; each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, protected_namespaces=()
    )

    host: str = Field("127.0.0.1", description="Address to listen on. Set an API_KEY before you open it to others.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    api_key: SecretStr | None = Field(
        None, description="Key that clients send as `Authorization: Bearer KEY` or `X-API-Key: KEY`. None: open."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error."
    )

    models_file: Path = Field(REPO / "models.toml", description="The file that lists which models are served.")
    models_dir: Path = Field(REPO / "models", description="Folder of checkpoints; looked into before the hub.")
    model_name: str | None = Field(
        None,
        description="Default text model: a served name, a folder under MODELS_DIR or a hub id. "
        "None: the first text model of MODELS_FILE.",
    )
    colqwen_model_id: str | None = Field(None, description="Checkpoint that replaces the ColQwen2.5 model's.")
    colqwen2_model_id: str | None = Field(None, description="Checkpoint that replaces the ColQwen2 model's.")
    colpali_model_id: str | None = Field(None, description="Checkpoint that replaces the ColPali model's.")
    e5_model_id: str | None = Field(None, description="Checkpoint that replaces the E5 model's.")
    bge_m3_model_id: str | None = Field(None, description="Checkpoint that replaces the BGE-M3 model's.")
    dinov3_model_id: str | None = Field(None, description="Checkpoint that replaces the DINOv3 model's.")
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="auto, cpu, cuda, cuda:1, mps. Auto takes the GPU if there is one.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto, float32, bfloat16, float16. Auto: float32 on CPU, else bfloat16."
    )
    preload: str = Field("", description="Models to load at start, comma-separated served names, or `all`.")
    memory_budget_mb: int | None = Field(
        None,
        ge=1,
        description="Evict the least recently used models, those in use last, if all of them take more. None: never.",
    )
    load_wait_s: float = Field(
        120.0, ge=0, description="How long a request waits for its model to load before it gets 503."
    )
    hf_token: SecretStr | None = Field(None, description="Hugging Face token, needed for gated models only.")
    hf_hub_offline: bool = Field(False, description="Never contact the model hub.")

    training: bool = Field(True, description="Whether models can be fine-tuned here.")
    max_training_pairs: int = Field(1_000_000, ge=1, description="Most pairs of one training job; 413 beyond it.")
    max_pending_jobs: int = Field(
        100, ge=1, description="Most training jobs that wait for their turn; 503 with Retry-After beyond it."
    )

    max_body_mb: float = Field(64, gt=0, description="Largest request body in MiB; 413 beyond it.")
    max_items: int = Field(1024, ge=1, description="Most texts or images in one request; 413 beyond it.")
    max_vectors_mb: int = Field(
        1024,
        ge=1,
        description="Vectors of tokens and patches held for one request at once, in MiB of float32; 413 beyond it.",
    )
    max_text_chars: int = Field(400_000, ge=1, description="Longest single text in characters; 413 beyond it.")
    max_image_megapixels: float = Field(40, gt=0, description="Largest image in megapixels; 413 beyond it.")
    pdf_dpi: float = Field(
        150,
        gt=0,
        description="Dots per inch at which pages of PDFs are drawn; fewer where MAX_IMAGE_MEGAPIXELS asks for it.",
    )
    max_concurrent_requests: int = Field(
        512, ge=1, description="Requests being answered at once; one more gets 503 with Retry-After."
    )
    max_queue_items: int = Field(
        4096,
        ge=1,
        description="Inputs that wait for one model: queries, those of reranking and heatmaps, others, each kind for "
        "itself. A request that would exceed it gets 503.",
    )
    max_batch_tokens: int | None = Field(
        None, ge=1, description="Tokens that a model computes at once. None: 1024 on a CPU, 16384 on a GPU."
    )
    max_batch_items: int | None = Field(
        None, ge=1, description="Inputs that a model computes at once. None: 64 on a CPU, 512 on a GPU."
    )
    max_wait_ms: float = Field(
        2.0, ge=0, description="How long a batch waits for inputs that are being prepared, in milliseconds."
    )
    prepare_threads: int | None = Field(
        None,
        ge=1,
        description="Threads that tokenize, decode and resize; queries have one more of their own, reranking and "
        "heatmaps another. None: half of the cores, at least 2.",
    )
    stuck_after_s: float = Field(
        300, gt=0, description="A model that computes one batch for longer makes /health answer 503."
    )
    graceful_shutdown_s: int = Field(30, ge=0, description="How long SIGTERM waits for accepted requests.")

    @property
    def max_image_pixels(self) -> int:
        return int(self.max_image_megapixels * 1_000_000)
