"""Hydra's errors in one sentence: what was given, what is allowed, what to type."""

import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fcnexp.config.compose import compose_run, conf_dir
from fcnexp.config.quoting import KEY, pasted, quoted, read
from fcnexp.config.values import did_you_mean, key_paths, no_such_key, plain_message

# Options that plugins provide, and the extra of pyproject.toml that installs each.
EXTRAS = {"joblib": "sweep", "submitit_local": "sweep", "submitit_slurm": "sweep"}
EXTRAS |= {"fcnexp_slurm_settings": "sweep"}  # of hydra/launcher=slurm
TRAINS = ("train", "bounds")  # commands that sweep
CONFIG_DIRS = ("--config-dir", "-cd")
# Options of lightning-hydra-template, and what to type here.
HABITS = {
    ("trainer", "ddp"): "trainer=gpu trainer.devices=4 uses four GPUs",
    ("trainer", "ddp_sim"): "trainer=cpu trainer.devices=2 starts two processes",
    ("trainer", "mps"): "Apple's GPUs are not used; type trainer=cpu",
    ("callbacks", "default"): "checkpoints and progress need no callback, and keep_best=true "
    "keeps the best weights",
    ("callbacks", "model_checkpoint"): "the last checkpoint is always kept, the best with "
    "keep_best=true",
}
MOST = 4  # options named that have a key
OPEN, CLOSED = "[{", "]}"


class Given(NamedTuple):
    """Arguments in which a mistake was made. config_name: of the command.

    typed: on a command line, otherwise passed by a program.
    """

    arguments: Sequence[str]
    config_name: str = "train"
    typed: bool = True

    @property
    def folders(self) -> list[Path]:
        """Folders of the user's own options."""
        words = [word for argument in self.arguments for word in argument.split("=", 1)]
        pairs = zip(words, words[1:], strict=False)
        return [Path(value) for flag, value in pairs if flag in CONFIG_DIRS]

    @property
    def overrides(self) -> list[str]:
        """The arguments without flags; the values of flags are left out, too."""
        places = range(len(self.arguments))
        return [
            self.arguments[i]
            for i in places
            if not self.arguments[i].startswith("-")
            and not (i and self.arguments[i - 1] in (*CONFIG_DIRS, "--config-name", "-cn"))
        ]

    def config(self) -> dict[str, Any]:
        """Return the config of the options given, without the values given."""
        chosen = [a for a in self.overrides if re.fullmatch(r"\w+=\w+", a)]
        for overrides in (chosen, []):  # the mistake may be one of the choices
            try:
                cfg = compose_run(overrides, self.config_name, self.folders)
                config = OmegaConf.to_container(cfg, resolve=False)
            except HydraException:
                continue
            assert isinstance(config, dict)
            return {str(key): value for key, value in config.items()}
        return {}

    def value(self, key: str) -> Any:
        """Return the value that the config has without the mistake; None if it has none."""
        with suppress(OmegaConfBaseException):
            found = OmegaConf.select(OmegaConf.create(self.config()), key)
            return OmegaConf.to_container(found) if OmegaConf.is_config(found) else found
        return None


def explain(error: Exception, given: Given) -> str:
    """Return the sentence for an error of Hydra or OmegaConf."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        return unreadable(error.override, given)
    if found := re.search(r"(?:Ambiguous value for argument|Sweep parameters) '(.+)'", text):
        return several_values(found[1], given)
    if found := re.search(r"Could not (?:override|delete)(?!.*value of)[^']*'([^'=]+)", text):
        full = getattr(error.__cause__, "full_key", None) or ""  # of a key inside a dict
        return missing_key(max(full, found[1], key=len), given)
    if found := re.search(r"already at '([^']+)'|^(\S+) appears more than once", text):
        key = found[1] or found[2]
        added = [a for a in given.overrides if re.match(rf"\++{re.escape(key)}=", a)]
        if added:
            plain = shlex.quote(added[-1].lstrip("+"))
            return f"{added[-1]}: {key} exists, so leave out the +: {plain}"
    if found := re.search(r"config group '([^']+)' does not exist", text):
        return missing_key(found[1], given)
    if found := re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", text):
        return no_such_option(found[1], found[2], given)
    if found := re.search(r"Cannot find primary config '([^']+)'", text):
        places = ", ".join(map(str, [conf_dir(), *given.folders]))
        return f"--config-name {found[1]}: no such file in {places}; give its name without .yaml"
    if found := re.search(r"config directory '(.+)' not found", text):
        return f"--config-dir {found[1]}: no such folder"
    return plain_message(error)


def missing_key(key: str, given: Given) -> str:
    """Message for a key that the config lacks: the options that have it, else the nearest key."""
    config = given.config()
    group, _, last = key.rpartition(".")
    groups = [group] if group else [p.name for p in conf_dir().iterdir() if p.name in config]
    inside = [path for path in key_paths(config) if path.endswith(f".{key}")]
    having = {} if inside else {name: _options_with(last, name) for name in sorted(groups)}
    for name, options in having.items():
        if options and "." not in name:
            which = " or ".join(f"{name}={option}" for option in options[:MOST])
            return f"{key}: no such key here; {name}.{last} belongs to {which}"
    return no_such_key(key, config)


def _options_with(key: str, group: str) -> list[str]:
    """Options of a group that have a key of their own."""
    files = sorted((conf_dir() / group).glob("*.yaml"))
    line = re.compile(rf"^{re.escape(key)}:", re.MULTILINE)
    return [path.stem for path in files if line.search(path.read_text(encoding="utf-8"))]


def no_such_option(group: str, name: str, given: Given) -> str:
    """Message for an option that a group lacks: the nearest option, and all."""
    if extra := EXTRAS.get(name):
        return f"{group}={name}: not installed; pip install -e '.[{extra}]'"
    homes = [conf_dir(), conf_dir().parent, *given.folders]  # the parent holds `sweeps`
    options = sorted({p.stem for home in homes for p in (home / group).glob("*.yaml")})
    near = did_you_mean(name, options)
    habit = f"; {HABITS[group, name]}" if (group, name) in HABITS else ""
    return f"{group}={name}: no such option{near}; choose one of {', '.join(options)}{habit}"


def several_values(argument: str, given: Given) -> str:
    """Message for values separated by commas, or a range of them, where a run takes one."""
    key, _, values = argument.partition("=")
    now = given.value(key.lstrip("+"))
    if isinstance(now, list):
        return f"{argument}: a list needs brackets: {shlex.quote(f'{key}=[{values}]')}"
    ways = []
    if isinstance(now, str) and not (conf_dir() / key).is_dir():
        ways.append(f"as one text, write {pasted(key, values)}")
    if given.typed and given.config_name in TRAINS:
        typed = ["python", "-m", f"fcnexp.{given.config_name}", "-m", *given.arguments]
        ways.append(f"to run each, add -m: {shlex.join(typed)}")
    return f"{argument}: several values; {'; '.join(ways) or f'{key} takes one'}"


def unreadable(argument: str, given: Given) -> str:
    """Message for an argument that Hydra's grammar cannot read, rewritten so that it can."""
    key, has_value, text = argument.partition("=")
    if not has_value:
        return stray_word(argument, given)
    if not KEY.fullmatch(key):
        return f"{argument}: cannot be read; write KEY=VALUE, such as seed=1"
    why = f"{argument}: cannot be read as it is"
    if whole := _rejoined(argument, given.arguments):
        return f"{argument}: cut at a space by the shell; write {shlex.quote(whole)}"
    now = given.value(key.lstrip("+"))
    if isinstance(now, bool | int | float):
        kind = "true or false" if isinstance(now, bool) else "a number"
        return f"{why}; {key} is {kind}, such as {key}={str(now).lower()}"
    if isinstance(now, list | dict) or text[:1] in OPEN:
        whole = f"{key}={_items_quoted(text)}"
        if read(whole) is None:
            example = re.sub(r"[' ]", "", str(now)) if isinstance(now, list) else "[1,2]"
            whole = f"{key}={example}"
            return f"{why}; {key} is a list, such as {shlex.quote(whole)}"
        return f"{why}; write {shlex.quote(whole)}"
    return f"{why}; write {pasted(key, text)}"


def stray_word(word: str, given: Given) -> str:
    """Message for an argument without `=`: a part of the one before it, or a key without value."""
    config, words = given.config(), list(given.arguments)
    group = conf_dir() / word
    if word in config or group.is_dir():
        options = sorted(path.stem for path in group.glob("*.yaml"))
        allowed = f", one of {', '.join(options)}" if options else ""
        return f"{word}: no value given; write {word}=VALUE{allowed}"
    before = words[words.index(word) - 1] if word in words[1:] else ""
    if "=" in before:
        key, _, text = before.partition("=")
        plain = read(before)
        text = str(plain.value()) if plain is not None else text
        whole = pasted(key, f"{text} {word}")
        return f"{word}: no KEY=VALUE; if it belongs to the argument before, write {whole}"
    near = did_you_mean(word, key_paths(config))
    return f"{word}: no KEY=VALUE{near}; --cfg job prints all keys"


def without_dashes(flag: str, value: str | None, given: Given) -> str:
    """Message for a flag that Hydra lacks, which is how other programs write a key."""
    key, config = flag.lstrip("-").replace("-", "_"), given.config()
    group = conf_dir() / key
    known = list(key_paths(config))
    if key not in known:
        inside = [path for path in known if path.endswith(f".{key}")]
        if not inside and not group.is_dir():
            return no_such_key(key, config)
        key = inside[0] if inside else key
    options = "|".join(sorted(path.stem for path in group.glob("*.yaml")))
    shown = f"{key}={options or 'VALUE'}"
    if value is not None:
        text = value if read(f"{key}={value}") is not None else quoted(value)
        shown = shlex.quote(f"{key}={text}")
    return f"{flag}: leave out the dashes: {shown}"


def _rejoined(argument: str, arguments: Sequence[str]) -> str | None:
    """Return a list or dict that the shell has cut at spaces as one argument; None if none was."""
    words = list(arguments)
    if argument not in words:
        return None
    for end in range(words.index(argument) + 2, len(words) + 1):
        whole = " ".join(words[words.index(argument) : end])
        if read(whole) is not None:
            return whole
    return None


def _items_quoted(text: str) -> str:
    """Return a list with those items quoted that Hydra cannot read; any other text as it is."""
    if text[:1] != "[" or text[-1:] != "]":
        return text
    items = [item.strip() for item in text[1:-1].split(",")]
    return f"[{','.join(i if read(f'a=[{i}]') is not None else quoted(i) for i in items)}]"
