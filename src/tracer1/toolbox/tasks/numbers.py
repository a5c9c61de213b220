"""Tasks about numbers that are told: calculator, solver, Python with names that persist from step to step."""

from tracer1.toolbox.tasks.task import Call, Dice, Task

PEOPLE = ("Ada", "Ben", "Cora", "Dan", "Eva", "Finn", "Gus", "Hana", "Ida", "Jon", "Kim", "Leo")


def change(dice: Dice) -> Task:
    """Two sums, the second one of what the first gave."""
    give, have, times = dice.below(11, 49), dice.below(51, 99), dice.below(3, 9)
    left = have - give
    who = dice.own(PEOPLE)
    first = f"{have} - {give}"
    return Task(
        f"{who} has {have} coins, spends {give} and then gets {times} times the rest. How many is that?",
        (
            Call("calculator", "work out the rest", "the question", {"expression": first}, shows=(str(left),)),
            Call(
                "calculator",
                "multiply the rest",
                "the rest",
                {"expression": f"{left} * {times}"},
                shows=(str(left * times),),
            ),
        ),
        str(left * times),
    )


def spread(dice: Dice) -> Task:
    """Python: a list that the second block finds again."""
    values = [dice.below(2, 60) for _ in range(3)]
    while len(set(values)) < len(values):
        values = [dice.below(2, 60) for _ in range(3)]
    word, code, truth = dice.of(
        ("spread", "print(max(x) - min(x))", max(values) - min(values)),
        ("sum", "print(sum(x))", sum(values)),
        ("middle", "print(sorted(x)[1])", sorted(values)[1]),
    )
    told = ", ".join(map(str, values))
    who = dice.own(PEOPLE)
    return Task(
        f"{who} wants the {word} of {told} by Python.",
        (
            Call("python_interpreter", "keep the numbers in a list", "the question", code=f"x = [{told}]\nprint(x)"),
            Call("python_interpreter", f"print the {word}", "the list x", code=code, shows=(str(truth),)),
        ),
        str(truth),
    )


def equation(dice: Dice) -> Task:
    """Solver: a linear equation."""
    factor, root, more = dice.below(2, 9), dice.below(2, 15), dice.below(2, 30)
    left = f"{factor}*x + {more}"
    right = factor * root + more
    code = f"from sympy import *\ndef solution():\n    x = symbols('x')\n    return solve(Eq({left}, {right}), x)"
    who = dice.own(PEOPLE)
    return Task(
        f"{who} asks: for which x is {left} = {right}?",
        (Call("solver", "solve the equation", "the question", {"command": code}, shows=(str(root),)),),
        str(root),
    )
