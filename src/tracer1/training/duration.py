"""Spans of time in words. It knows nothing of what took them."""


def duration(seconds: float) -> str:
    """`12 s`, `4 min 05 s`, `3 h 12 min`, `2 d 03 h`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02d} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
