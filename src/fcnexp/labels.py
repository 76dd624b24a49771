"""The one label value that is not a class."""

VOID = 255  # neither trained on nor scored; the border colour of VOC's label maps
