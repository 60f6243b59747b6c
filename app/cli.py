"""`python -m app serve | models | train | eval | starter`."""

import argparse
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from app.core.errors import ManyvecError
from app.core.trace import RequestIdFilter
from app.engine.daemon import in_daemon_thread
from app.main import checkpoint_finder, configured_models, create_app, hub
from app.settings import Settings
from app.training.command import LocalServing, train
from app.training.flags import add_arguments

log = logging.getLogger("manyvec")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            print(f"manyvec: {str(problem['loc'][0]).upper()}: {problem['msg']}", file=sys.stderr)
        return 1
    _log_to_stderr(settings.log_level)
    try:
        options.run(options, settings)
    except ManyvecError as error:
        print(f"manyvec: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def _log_to_stderr(level: str) -> None:
    """Every line names the request that it belongs to, or `-`."""
    handler = logging.StreamHandler()
    # Of the handler, not of a logger: those see only what is logged through themselves.
    handler.addFilter(RequestIdFilter())
    logging.basicConfig(
        level=level.upper(),
        format="%(asctime)s %(levelname)-7s [%(request_id)s] %(name)s: %(message)s",
        handlers=[handler],
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description="Manyvec, the multi-model embedding server.")
    commands = parser.add_subparsers(required=True, metavar="command")
    serve = commands.add_parser("serve", help="serve the models of MODELS_FILE")
    serve.set_defaults(run=_serve)
    starter = commands.add_parser("starter", help="build the small untrained checkpoints that are missing")
    starter.set_defaults(run=_starter)
    models = commands.add_parser("models", help="list the configured models, or convert pickled weights")
    models.set_defaults(run=_list_models)
    actions = models.add_subparsers(metavar="action")
    actions.add_parser("list", help="list the configured models").set_defaults(run=_list_models)
    convert = actions.add_parser("convert", help="convert a checkpoint's pickled weights to safetensors")
    convert.add_argument("checkpoint", help="folder under MODELS_DIR, or a hub id")
    convert.set_defaults(run=_convert)
    train = commands.add_parser("train", help="fine-tune a model on pairs")
    add_arguments(train)
    train.set_defaults(run=_train)
    _add_eval(commands.add_parser("eval", help="measure how well served models find"))
    return parser


def _add_eval(parser: argparse.ArgumentParser) -> None:
    parser.description = "Ask a running server over HTTP and print a table for each evaluation set that suits a model."
    parser.add_argument("--model", required=True, nargs="+", help="served names, as /v1/models lists them")
    parser.add_argument("--url", help="of the server; default: http://127.0.0.1 and PORT")
    parser.add_argument("--api-key", help="default: API_KEY")
    parser.add_argument("--sets", nargs="+", help="texts, pages, pictures; default: all that suit the model")
    parser.add_argument("--data", type=Path, help="folder of other sets in the same form")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.set_defaults(run=_eval)


def _serve(options: argparse.Namespace, settings: Settings) -> None:
    import uvicorn

    application = create_app(settings)

    class Server(uvicorn.Server):
        """Says where to look as soon as it listens."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Before it waits for requests: streams of a job's events end with the job.
            await in_daemon_thread(application.state.training.stop)
            await super().shutdown(sockets)

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                port = self.servers[0].sockets[0].getsockname()[1]
                print(_welcome(settings, port), flush=True)

    config = uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        # h11 rather than httptools: it bounds the size of headers.
        http="h11",
        log_config=None,
        access_log=settings.log_level.lower() == "debug",
        server_header=False,
        timeout_graceful_shutdown=settings.graceful_shutdown_s,
    )
    # uvicorn raises Ctrl-C again when it has shut down.
    with suppress(KeyboardInterrupt):
        Server(config).run()


def _train(options: argparse.Namespace, settings: Settings) -> None:
    configs, default_text = configured_models(settings)
    # The default text model is the first one here too.
    configs.sort(key=lambda config: config.name != default_text)
    train(options, settings, LocalServing(configs, checkpoint_finder(settings)))


def _welcome(settings: Settings, port: int) -> str:
    models, default_text = configured_models(settings)
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - read, not bound
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    lines = [f"\nManyvec serves on {url}", f"  try it in a browser: {url}/playground", "  models:"]
    for model in models:
        notes = [model.family, *(["default for text"] if model.name == default_text else [])]
        notes += [] if model.trained else ["untrained: random weights"]
        lines.append(f"    {model.name}  ({', '.join(notes)})")
    lines.append("  one line to try:")
    key = "" if settings.api_key is None else ' -H "Authorization: Bearer $API_KEY"'
    lines.append(
        f"    curl {url}/vectorize{key} -H 'Content-Type: application/json' -d '{{\"text\": \"hello world\"}}'\n"
    )
    if settings.api_key is None and not _is_loopback(settings.host):
        lines.append("WARNING: listening beyond this machine without an API_KEY: anybody who reaches it can use it.\n")
    return "\n".join(lines)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _starter(options: argparse.Namespace, settings: Settings) -> None:
    from app import starter

    built = starter.ensure(settings.models_dir)
    print("built untrained starter checkpoints: " + ", ".join(built) if built else "starter checkpoints are in place")


def _eval(options: argparse.Namespace, settings: Settings) -> None:
    from app.evaluation.client import ServerClient
    from app.evaluation.errors import EvaluationError
    from app.evaluation.evaluate import SETS, evaluate
    from app.evaluation.report import write_json
    from app.evaluation.sets import DATA

    # Its lines of every request would drown the table.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    if unknown := set(options.sets or ()) - set(SETS):
        raise EvaluationError(f"There is no set {', '.join(sorted(unknown))}. The sets are: {', '.join(SETS)}.")
    key = options.api_key or (settings.api_key.get_secret_value() if settings.api_key else None)
    with ServerClient.connect(options.url or f"http://127.0.0.1:{settings.port}", key) as client:
        tables = evaluate(client, options.model, options.sets or SETS, options.data or DATA)
    print("\n\n".join(map(str, tables)))
    if options.json:
        write_json(tables, options.json)


def _list_models(options: argparse.Namespace, settings: Settings) -> None:
    models, default_text = configured_models(settings)
    for model in models:
        mark = "*" if model.name == default_text else " "
        print(f"{mark} {model.name:<28} {model.family:<11} {model.checkpoint}  ({model.license})")


def _convert(options: argparse.Namespace, settings: Settings) -> None:
    from app.checkpoints.convert import convert

    written = convert(options.checkpoint, settings.models_dir, hub(settings))
    print("written: " + ", ".join(written) if written else "nothing to convert: the weights are safetensors already")
