"""A page on 127.0.0.1 to try a model: draw, see what each member and the ensemble make of it."""

import sys
from dataclasses import dataclass
from pathlib import Path

from cnn_core.errors import InputError
from pipeline.configuration import Command, Config, command_line, setting


@dataclass
class DemoKeys:
    bundle: str | None = setting(None, "folder of an exported model, such as outputs/digits/bundle")
    port: int = setting(
        8501, "port of the page, on 127.0.0.1 alone; 0: any free one", low=0, high=65535
    )


COMMAND = Command(
    name="demo",
    about="Serves a small page on 127.0.0.1: draw or drop a picture, see the probabilities "
    "and what the net saw. Ctrl-C stops it.",
    examples=(
        "python -m pipeline.demo bundle=outputs/digits/bundle",
        "python -m pipeline.demo bundle=outputs/mnist/bundle port=8600",
    ),
    keys=DemoKeys,
    sections=(),
)


def main(config: Config) -> int:
    """Load the bundle and serve until Ctrl-C. Raises InputError for a bundle that cannot be read or
    a port that is taken.
    """
    from pipeline.bundle.running import open_bundle
    from pipeline.demo_page.server import DemoServer

    if config.arguments.bundle is None:
        raise InputError(
            "bundle: must name a folder with an exported model (python -m pipeline.export makes "
            "one), got none"
        )
    bundle = open_bundle(Path(config.arguments.bundle))
    port = config.arguments.port
    try:
        server = DemoServer(bundle, port)
    except OSError as error:
        raise InputError(
            f"port: must be free on 127.0.0.1, got {port} ({error.strerror}); choose another: "
            f"port={port + 1}"
        ) from error
    print(f"draw or drop a picture: {server.address}  (Ctrl-C stops)", flush=True)
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
