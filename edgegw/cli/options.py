"""What every command understands: `--config`, `--json`, `-q`, `-v`, before the command and after it."""

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from edgegw.problems import Exit

# As in `config.DEFAULT_FILE`, which would bring the whole configuration into each --help.
DEFAULT_FILE = "/etc/edgegw/edgegw.toml"

P = ParamSpec("P")

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help=f"Configuration file ({DEFAULT_FILE}).", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: a document, or lines for a stream.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print data and errors only.")]
Verbose = Annotated[
    int,
    typer.Option("--verbose", "-v", count=True, help="Say more; -vv shows stack traces.", show_default=False),
]


@dataclass(frozen=True)
class Options:
    """The options of a command; `config` is None when nobody named a file."""

    config: Path | None = None
    json: bool = False
    quiet: bool = False
    verbose: int = 0

    def over(self, earlier: "Options") -> "Options":
        """These options where they say something, else the earlier ones."""
        return Options(
            self.config or earlier.config,
            self.json or earlier.json,
            self.quiet or earlier.quiet,
            max(self.verbose, earlier.verbose),
        )


_COMMON: dict[str, tuple[Any, object]] = {
    "config": (ConfigFile, None),
    "json": (Json, False),
    "quiet": (Quiet, False),
    "verbose": (Verbose, 0),
}


Command = Callable[Concatenate[Options, P], Exit | None]


def command(app: typer.Typer, name: str) -> Callable[[Command[P]], Command[P]]:
    """Register a function of Options and its own parameters as a command of `app`; it returns an Exit or None."""

    def register(function: Command[P]) -> Command[P]:
        app.command(name)(_wrapped(function, lambda options, given: function(options, **given)))  # type: ignore[call-arg]
        return function

    return register


def group(name: str, text: str) -> typer.Typer:
    """A group of commands, which takes the common options too."""
    app = typer.Typer(name=name, help=text, rich_markup_mode=None, add_completion=False)

    def take(options: Options) -> None:
        """Keep the common options for the command."""

    app.callback(help=text)(_wrapped(take, lambda _options, _given: None))
    return app


def _wrapped(
    function: Callable[..., Any], call: Callable[[Options, dict[str, Any]], Exit | None]
) -> Callable[..., None]:
    """`call` under the parameters of `function` (without its first one) and the common options."""
    hints = typing.get_type_hints(function, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    _, *own = inspect.signature(function).parameters.values()
    parameters = [
        inspect.Parameter("context", keyword, annotation=typer.Context),
        *(parameter.replace(annotation=hints[parameter.name], kind=keyword) for parameter in own),
    ]
    for name, (annotation, default) in _COMMON.items():
        parameters.append(inspect.Parameter(name, keyword, default=default, annotation=annotation))

    def wrapper(context: typer.Context, **given: Any) -> None:
        here = Options(**{name: given.pop(name) for name in _COMMON})
        context.obj = here.over(context.obj or Options())
        code = call(context.obj, given)
        if code:
            raise typer.Exit(int(code))

    wrapper.__doc__ = function.__doc__
    wrapper.__name__ = function.__name__
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper
