"""Texts that anybody may have written, such as those of a bundle, made safe to show."""


def harmless(text: str) -> str:
    r"""A text on one line, in which every character that does not print is written out: \x1b.

    Such characters move the cursor, colour a terminal, reverse what follows or cannot be seen; of
    them line breaks, tabs and wide blanks become a blank.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else " " if char.isspace() else repr(char)[1:-1] for char in text
    )
