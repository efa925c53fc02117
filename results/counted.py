"""How many, in words."""


def counted(n: int, noun: str) -> str:
    """`1 pack`, `2,000 packs`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
