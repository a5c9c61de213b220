"""What others said, fit for a line of ours: errors of libraries, answers of servers. It knows nothing of who says it to whom."""

_WORD = 40  # characters: a longer one is cut


def shortened(text: str, most: int = 300) -> str:
    """The text in one line of at most `most` characters, cut between two words, with an ellipsis where it was cut."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    head = line[: most - 2]
    end = len(head) if line[len(head)] == " " else head.rfind(" ")
    return f"{head[:end] if end > max(0, len(head) - _WORD) else head} …"


def root_of(error: BaseException) -> str:
    """What is at the root of an error, in one line: of `All connection attempts failed` that the connection was refused."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif (cause := error.__cause__ or error.__context__) is not None:
            error = cause
        else:
            return shortened(f"{type(error).__name__}: {error}".removesuffix(": "))
