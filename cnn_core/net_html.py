"""A fitted net in a notebook: a line for each epoch while it trains, its layers and its epochs as
HTML afterwards.
"""

from collections.abc import Mapping, Sequence
from html import escape

from cnn_core.model import COLUMNS, Sequential

_SHOWN = {
    "train_loss": ".4f",
    "train_accuracy": ".2%",
    "valid_loss": ".4f",
    "valid_accuracy": ".2%",
}
_LAST = 20  # epochs that are shown


def line_of_epoch(epoch: int, epochs: int, metrics: Mapping[str, float]) -> str:
    """Return ``epoch 3/10  train loss 0.0512  train accuracy 98.40%  1.2 s`` of an epoch's
    metrics.
    """
    figures = [
        f"{name.replace('_', ' ')} {metrics[name]:{form}}"
        for name, form in _SHOWN.items()
        if name in metrics
    ]
    return "  ".join([f"epoch {epoch}/{epochs}", *figures, f"{metrics['epoch_s']:.1f} s"])


def net_html(model: Sequential, history: Sequence[Mapping[str, float]]) -> str:
    """Return the table of a built net's layers (`Sequential.summary_rows`), and one of its last
    epochs.
    """
    names = [name for name in _SHOWN if history and name in history[-1]]
    begin = max(0, len(history) - _LAST)
    epochs = [
        [str(number), *(f"{row[name]:{_SHOWN[name]}}" for name in names if name in row)]
        for number, row in enumerate(history[begin:], begin + 1)
    ]
    header = ["epoch", *(name.replace("_", " ") for name in names)]
    return _table("Layers", COLUMNS, model.summary_rows()) + _table("Epochs", header, epochs)


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [_row("th", header), *(_row("td", row) for row in rows)]
    return f"<details open><summary>{title}</summary><table>{''.join(cells)}</table></details>"


def _row(tag: str, texts: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(text)}</{tag}>' for text in texts)}</tr>"
