"""Colour-blind safe palette of charts, overlays and pages (Okabe and Ito, 2008)."""

SKY, BLUE, VERMILION, ORANGE, GREY = "#56B4E9", "#0072B2", "#D55E00", "#E69F00", "#767676"


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of a colour written `#RRGGBB`.

    >>> rgb("#56B4E9")
    (86, 180, 233)
    """
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue
