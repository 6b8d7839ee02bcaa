"""The colours of charts, pictures and page: those of Okabe and Ito (2008), which the colour-blind can tell apart."""

SKY, BLUE, VERMILION, ORANGE, GREY = "#56B4E9", "#0072B2", "#D55E00", "#E69F00", "#767676"


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of a colour.

    >>> rgb("#56B4E9")
    (86, 180, 233)
    """
    return tuple(bytes.fromhex(colour[1:]))
