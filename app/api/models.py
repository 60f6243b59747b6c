"""Which models there are; loading and unloading them."""

from typing import Annotated

from fastapi import Path, Query, Request

from app.api.defaults import PAGES_AND_QUERIES, VISUAL_FAMILY
from app.api.route import EngineDep, api_router
from app.api.schemas.models import Info, ModelList, ModelObject
from app.checkpoints.local import display_name
from app.engine.engine import ModelStatus

router = api_router("models")

ModelName = Annotated[str, Path(description="Served name.", examples=["colpali-v1.3"])]


@router.get("/v1/models", summary="All configured models and their states")
async def list_models(engine: EngineDep) -> ModelList:
    return ModelList(data=[_model_object(status) for status in engine.models()])


@router.post("/models/{name}/load", summary="Load a model now and wait until it is ready")
async def load_model(name: ModelName, engine: EngineDep) -> ModelObject:
    return _model_object(await engine.load(name))


@router.post("/models/{name}/unload", summary="Finish the model's requests, then free its memory")
async def unload_model(name: ModelName, engine: EngineDep) -> ModelObject:
    return _model_object(await engine.unload(name))


@router.get("/info", summary="The default visual model, which is loaded if need be")
async def info(
    request: Request,
    engine: EngineDep,
    model: Annotated[str | None, Query(description="Another model, by served name or checkpoint id.")] = None,
) -> Info:
    name = engine.pick(model) if model else engine.pick(None, *PAGES_AND_QUERIES, prefer=VISUAL_FAMILY)
    loaded = (await engine.model(name)).info
    config = engine.status(name).config
    return Info(
        version=request.app.version,
        model=name,
        model_id=display_name(config.checkpoint),
        family=config.family,
        trained=config.trained,
        device=loaded.device,
        dtype=loaded.dtype,
        backend=loaded.backend,
        flash_attn=loaded.attention == "flash_attention_2",
        attention=loaded.attention,
        dim=loaded.dim,
        context_length=loaded.max_tokens,
        patch_size=loaded.patch_size,
        spatial_merge_size=loaded.spatial_merge_size,
        image_token_id=loaded.image_token_id,
    )


def _model_object(status: ModelStatus) -> ModelObject:
    config, loaded = status.config, status.info
    return ModelObject(
        id=config.name,
        family=config.family,
        checkpoint=display_name(config.checkpoint),
        capabilities=sorted(map(str, config.spec.capabilities)),
        license=config.license,
        trained=config.trained,
        base_model=config.base_model,
        state=status.state,
        error=status.error,
        dimensions=loaded.dim if loaded else None,
        context_length=loaded.max_tokens if loaded else None,
        device=loaded.device if loaded else None,
        dtype=loaded.dtype if loaded else None,
        backend=loaded.backend if loaded else None,
        memory_bytes=status.memory_bytes,
    )
