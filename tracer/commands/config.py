"""nstrace config: the settings, and where each comes from."""

from __future__ import annotations

import json

import click

from tracer.errors import ExitCode, NstraceError
from tracer.text.escape import safe_json, safe_text


@click.command("config")
@click.option("--path", "only_path", is_flag=True, help="Print the path of the configuration file alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object for each setting.")
@click.option("--no-header", is_flag=True, help="Leave out the header line.")
def command(only_path: bool, as_json: bool, no_header: bool) -> None:
    """Print every setting with its value and where that comes from.

    A setting is the default of an option. It is read from ~/.config/nstrace/config.toml (XDG_CONFIG_HOME is respected;
    under sudo, of the user who called sudo), or from a variable NSTRACE_NAME, which overrides the file. The option on
    the command line overrides both. NSTRACE_CONFIG names another file; if it is empty, no file is read.

    \b
    color            auto, always or never
    container_width  greatest width of the column CONTAINER
    redact           true: secrets in arguments are masked (--no-redact)
    target           "web", or ["web", "label:tier=db"]: what follow, record, ps,
                     tree and verify show where no TARGET is given
    time             local, utc, epoch, boot, relative or delta: times in text

    \b
    mkdir -p "$(dirname "$(nstrace config --path)")"
    echo 'color = "never"' >> "$(nstrace config --path)"
    NSTRACE_TARGET='web db' nstrace follow
    """
    from tracer import config_file

    if only_path:
        if (where := config_file.path()) is None:
            raise NstraceError(f"no file is read: {config_file.VARIABLE} is empty", "unset it", ExitCode.FAILURE)
        click.echo(str(where))
        return
    found = config_file.read()
    if as_json:
        for setting, (value, source) in found.items():
            line = {"setting": setting.name, "value": value, "from": source, "variable": setting.variable}
            click.echo(safe_json(json.dumps(line, ensure_ascii=False)))
        return
    rows = [(setting.name, _shown(value), source) for setting, (value, source) in found.items()]
    click.echo(_table(rows if no_header else [("SETTING", "VALUE", "FROM"), *rows]), nl=False)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return " ".join(value) or "-"
    return "-" if value is None else str(value)


def _table(rows: list[tuple[str, str, str]]) -> str:
    rows = [tuple(map(safe_text, row)) for row in rows]  # type: ignore[misc]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "".join(f"{name:{widths[0]}}  {value:{widths[1]}}  {source}\n" for name, value, source in rows)
