"""Tasks about documents: tables as CSV, Excel or JSON, notes as text or Word files, read with the file inspector."""

from tracer1.toolbox.tasks import documents
from tracer1.toolbox.tasks.numbers import PEOPLE
from tracer1.toolbox.tasks.task import Call, Dice, Task

GOODS = ("pens", "cups", "maps", "bags", "hats", "keys", "jars", "pans")
ROOMS = ("hall", "lab", "shop", "gym", "bar", "attic")
TABLES = {"csv": documents.csv_table, "xlsx": documents.excel_table, "json": documents.json_table}
NOTES = {"txt": documents.text_note, "docx": documents.word_note}


def stock(dice: Dice) -> Task:
    """A table is read, and something is taken from one of its numbers."""
    suffix = dice.of("csv", "xlsx", "json")
    goods = dice.rng.sample(GOODS, 3)
    counts = [dice.below(31, 99) for _ in goods]
    row, sold = dice.below(0, 2), dice.below(11, 30)
    path = dice.name("stock", suffix)
    left = counts[row] - sold
    return Task(
        f"{path} says what {dice.own(PEOPLE)} has in stock. {sold} {goods[row]} are sold. How many are left?",
        (
            _read(path, "read the table", tuple(map(str, counts))),
            Call(
                "calculator",
                "take the sold ones away",
                "the table",
                {"expression": f"{counts[row]} - {sold}"},
                shows=(str(left),),
            ),
        ),
        str(left),
        files={path: TABLES[suffix]([("item", "count"), *zip(goods, counts, strict=True)])},
    )


def note(dice: Dice) -> Task:
    """Something is looked up in a note."""
    suffix = dice.of("txt", "docx")
    people = [dice.own(PEOPLE[start::3]) for start in range(3)]  # three thirds of the list: nobody twice
    rooms = dice.rng.sample(ROOMS, 3)
    at = dice.below(0, 2)
    path = dice.name("note", suffix)
    return Task(
        f"Where is {people[at]}? It stands in {path}.",
        (_read(path, "read the note", tuple(rooms)),),
        rooms[at],
        files={path: NOTES[suffix]([f"{who}: {room}" for who, room in zip(people, rooms, strict=True)])},
    )


def bill(dice: Dice) -> Task:
    """A table is read, its numbers are added up in Python, and the sum is divided."""
    suffix = dice.of("csv", "xlsx", "json")
    goods = dice.rng.sample(GOODS, 3)
    shares = dice.below(2, 5)
    prices = [dice.below(11, 60) for _ in goods]
    prices[-1] += -sum(prices) % shares
    total = sum(prices)
    path = dice.name("bill", suffix)
    code = f"print(sum([{', '.join(map(str, prices))}]))"
    return Task(
        f"{dice.own(PEOPLE)} and others, {shares} in all, share the bill in {path}. What does each of them pay?",
        (
            _read(path, "read the bill", tuple(map(str, prices))),
            Call("python_interpreter", "add the prices up", "the bill", code=code, shows=(str(total),)),
            Call(
                "calculator",
                "divide the sum",
                "the sum",
                {"expression": f"{total} / {shares}"},
                shows=(str(total // shares),),
            ),
        ),
        str(total // shares),
        files={path: TABLES[suffix]([("item", "price"), *zip(goods, prices, strict=True)])},
    )


def _read(path: str, purpose: str, shows: tuple[str, ...]) -> Call:
    return Call("inspect_file_as_text", purpose, "the name of a file", {"file_path": path}, shows=shows)
