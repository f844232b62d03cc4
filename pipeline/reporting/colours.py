"""Okabe and Ito's palette: told apart with any colour vision, and in grey."""

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#7A7A7A",
)
INK = "#222222"
STATE_COLOURS = {
    "COMPLETE": BLUE,
    "PRUNED": ORANGE,
    "FAIL": RED,
    "INTERRUPTED": GREY,
    "RUNNING": GREEN,
}
