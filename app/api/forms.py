"""Options of multipart routes: query parameters, or fields of the form."""

from typing import Annotated, TypeVar

from fastapi import Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.api.schemas.common import Body
from app.api.schemas.options import ImageOptions
from app.api.schemas.pages import PageOptions, PagesOptions

Options = TypeVar("Options", bound=Body)


async def with_form_fields(query: Options, request: Request) -> Options:
    """The options with those that only the form holds. Empty fields count as absent, as for every optional one.

    Raises `RequestValidationError`.
    """
    kind = type(query)
    form = await request.form()
    fields = {name: value for name, value in form.items() if name in kind.model_fields and value}
    if not fields:
        return query
    try:
        return kind.model_validate(fields | query.model_dump(exclude_unset=True))
    except ValidationError as error:
        problems = [problem | {"loc": ("body", *problem["loc"])} for problem in error.errors()]
        raise RequestValidationError(problems, body=form) from error


async def _image_options(query: Annotated[ImageOptions, Query()], request: Request) -> ImageOptions:
    return await with_form_fields(query, request)


async def _page_options(query: Annotated[PageOptions, Query()], request: Request) -> PageOptions:
    return await with_form_fields(query, request)


async def _pages_options(query: Annotated[PagesOptions, Query()], request: Request) -> PagesOptions:
    return await with_form_fields(query, request)


ImageOptionsDep = Annotated[ImageOptions, Depends(_image_options)]
PageOptionsDep = Annotated[PageOptions, Depends(_page_options)]
PagesOptionsDep = Annotated[PagesOptions, Depends(_pages_options)]
