"""Colours of what is drawn of a world, legible for colour-blind readers."""

# Okabe and Ito, "Color Universal Design" (2008), ordered so that neighbours differ in lightness as well;
# their yellow, invisible on white, gives way to a dark brown.
VESSELS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7A4B1E")
"""Of the vessels, which repeat."""

# Kept light: vessels, trails and labels must stand out in front of the fastest water.
WATER = ("#f4f9fd", "#d3e6f3", "#a3c9e2", "#6ba3cb")
"""Of the water, from still to fastest, over the logarithm of its speed."""

OBSTACLE = "#4a4f57"
ALARM = "#C1272D"
