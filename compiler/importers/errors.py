"""What the importers refuse."""

from collections.abc import Mapping, Sequence

from smartdeal.golden.networks import NetworkError

__all__ = ["Refusal", "UnsupportedModel", "unknown_operators"]


class Refusal(Exception):
    """An operator that no layer can express; the importers collect these.

    The message says what must be different, without the operator's name.
    """


class UnsupportedModel(NetworkError):
    """A model with operators that the accelerator does not run.

    The message is one line for one problem; otherwise each problem has a line of its own.

    Parameters
    ----------
    model : str
        The model's name or file.
    problems : sequence of str
        Each names an operator, its node, and what is wrong.
    supported : sequence of str
        Names of the supported operators, if one of another name was met.
    """

    def __init__(
        self, model: str, problems: Sequence[str], supported: Sequence[str] = (),
    ) -> None:
        self.problems = tuple(problems)
        advice = f"supported are {', '.join(supported)}" if supported else ""
        if len(problems) == 1:
            lines = f": {problems[0]}" + (f"; {advice}" if advice else "")
        else:
            parts = [*problems, *([advice] if advice else [])]
            lines = f", for {len(problems)} reasons:" + "".join(f"\n  {part}" for part in parts)
        super().__init__(f"{model} cannot be imported{lines}")


#: Operators that take signs, in small letters. Theirs of 0 is 0, which no binary activation has.
_SIGNS = ("sign", "sgn")


def unknown_operators(nodes: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a problem for each type of operator that is not supported, given its nodes' names."""
    problems: list[str] = []
    for operator, names in nodes.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        problem = f"operator {operator} (node {names[0]!r}{more}) is not supported"
        if operator.lower() in _SIGNS:
            problem += (": binary activations have no zero; they are those of drop-in layers of "
                        "the form bnn, in a module or a built-in network")
        problems.append(problem)
    return problems
