"""Class ids and their colours: 0 is background, 255 is ignored."""

BACKGROUND = "background"
IGNORE = 255


def palette() -> list[int]:
    """The PASCAL VOC colour map: 256 RGB triples, each class id's bits spread over the three channels."""
    colours = []
    for class_id in range(256):
        red = green = blue = 0
        for bit in range(8):
            red |= ((class_id >> (3 * bit)) & 1) << (7 - bit)
            green |= ((class_id >> (3 * bit + 1)) & 1) << (7 - bit)
            blue |= ((class_id >> (3 * bit + 2)) & 1) << (7 - bit)
        colours += [red, green, blue]
    return colours
