"""The space of a search: Hydra's sweep syntax as distributions, and trials as overrides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from fcnexp.config import identity
from fcnexp.errors import ConfigError

EXAMPLE = "'regime.lr=tag(log,interval(1e-4,1e-2))' or model=fcn16s,fcn8s"


@dataclass(frozen=True)
class Space:
    """What a search varies. distributions: by parameter; fixed: overrides that all trials share.

    keys: how each parameter begins as an override, which may have a + that its name lacks. typed:
    each parameter as an override that varies.
    """

    distributions: dict[str, BaseDistribution]
    keys: dict[str, str]
    typed: dict[str, str]
    fixed: dict[str, str]

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """Return the overrides of a trial."""
        varied = [f"{self.keys[name]}={_text(value)}" for name, value in params.items()]
        return [*self.fixed.values(), *varied]

    def grid(self) -> dict[str, list[Any]]:
        """Return the values of each parameter. Raises ConfigError if one has infinitely many."""
        return {name: _values(name, each) for name, each in self.distributions.items()}

    def describe(self) -> str:
        """Name the space in one line, the same for whatever gives the same trials."""
        free = tuple(f"{name}." for name in identity.FREE)
        counted = [t for name, t in self.fixed.items() if not f"{name}.".startswith(free)]
        return " ".join(sorted(self.typed.values()) + sorted(counted))


def space_of(overrides: Sequence[Override]) -> Space:
    """Return the space that overrides describe; of equal keys the last one counts.

    Raises ConfigError if none varies, or one cannot be searched.
    """
    distributions: dict[str, BaseDistribution] = {}
    keys, typed, fixed = dict[str, str](), dict[str, str](), dict[str, str]()
    for override in overrides:
        key = override.get_key_element()
        name = key.lstrip("+~")
        for earlier in (distributions, typed, fixed):
            earlier.pop(name, None)
        if override.is_sweep_override():
            distributions[name], keys[name] = _distribution(override), key
            typed[name] = str(override.input_line)
        elif override.is_delete():
            fixed[name] = override.input_line or key
        else:
            fixed[name] = f"{key}={override.get_value_element_as_str()}"
    if not distributions:
        raise ConfigError(f"nothing to search: give a setting an interval or choices: {EXAMPLE}")
    return Space(distributions, keys, typed, fixed)


def _distribution(override: Override) -> BaseDistribution:
    value, given = override.value(), override.input_line
    tags: set[str] = getattr(value, "tags", set())
    if odd := sorted(tags - {"log"}):
        raise ConfigError(f"{given}: tag {odd[0]} means nothing to a search; allowed is log")
    log = "log" in tags
    try:
        if isinstance(value, IntervalSweep):
            low, high = value.start, value.end
            assert low is not None and high is not None
            if isinstance(low, int) and isinstance(high, int):
                return IntDistribution(low, high, log=log)
            return FloatDistribution(float(low), float(high), log=log)
        if isinstance(value, RangeSweep) and isinstance(value.range(), range):
            numbers = sorted(value.range())
            if not log or abs(value.step) == 1:
                step = 1 if len(numbers) < 2 else numbers[1] - numbers[0]
                return IntDistribution(numbers[0], numbers[-1], log=log, step=step)
            raise ConfigError(f"{given}: log and a step exclude each other; leave one out")
    except (ValueError, IndexError) as error:
        raise ConfigError(
            f"{given}: {error}; the lower bound comes first: interval(1e-4,1e-2)"
        ) from None
    if log:
        raise ConfigError(f"{given}: log applies to interval(LOW,HIGH) and range(LOW,HIGH)")
    return CategoricalDistribution(_once(override.sweep_string_iterator()))


def _once(values: Any) -> list[str]:
    """Return the texts of choices without repetitions, in the order given."""
    return list(dict.fromkeys(map(str, values)))


def _values(name: str, distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution) and not distribution.log:
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    raise ConfigError(f"{name}: a grid needs choices, such as {name}=A,B, or range(LOW,HIGH,STEP)")


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)
