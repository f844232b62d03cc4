"""The median training step of this project's nets beside the plain algorithm of report 5 and
PyTorch: ``python -m benchmarks.training``.

All start from the same weights and see the same batches of 100, gathered from uint8 images in
memory and scaled; each is a process of its own and they take turns of a few steps, so that the
machine's moods meet all alike. Timed is the whole step: gathering, scaling, forward, loss,
backward, Adam. The measured processes run on the BLAS library's own choice of kernels: a pin in the
environment is cleared for them. ``--isa avx2`` holds all sides to AVX2 instead. With ``--threads``
N ours cuts each batch into N parts, for as many processes (memory is the first one's), and one core
of ours takes turns as well.
"""

import argparse
import platform
import statistics
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from benchmarks.document import DOCS, add_outputs, bar_chart, finish, markdown_table
from benchmarks.environment import ISAS
from benchmarks.peers.batches import BATCH, images_used, step_flops
from benchmarks.peers.processes import has_pytorch, peer

NETS = ("contest", "simple_convnet", "three_conv", "two_conv", "vgg_bn")
MORE_NETS = ("vgg_deep", "pyramid")
ONE_CORE = "ours_one_core"
PEERS = ("ours", "report5", "torch_nchw", "torch_channels_last")
REPORT5_NETS = ("contest", "simple_convnet")
TURN = 5  # steps in a row
WARM_UP = 2  # turns that are not counted
TOLERANCE = 0.05  # of the losses after all steps


@dataclass(frozen=True)
class Row:
    net: str
    who: str
    step_ms: float
    ratio_to_ours: float
    gflops: float
    peak_share: float
    max_rss_mb: float
    loss: float


def measure(
    net: str, peers: list[str], threads: int, steps: int, isa: str
) -> tuple[list[Row], str]:
    """Return a row for each peer that knows the net, and the instructions in use."""
    names = [who for who in peers if who != "report5" or net in REPORT5_NETS]
    if threads > 1:
        names.append(ONE_CORE)
    with ExitStack() as stack:
        processes = [stack.enter_context(peer(who, net, threads, isa=isa)) for who in names]
        times: dict[str, list[float]] = {who: [] for who in names}
        peak = 0.0
        for turn in range(steps // TURN):
            for process in processes:
                taken = process.ask(steps=TURN)
                times[process.who] += taken if turn >= WARM_UP else []
            if turn % 10 == 0:
                peak = max(peak, processes[0].ask(peak=2))
        about = {process.who: process.ask(about=True) for process in processes}
    losses = {who: loss_without_dropout(who, net, threads, steps, isa) for who in names}
    medians = {who: statistics.median(values) for who, values in times.items()}
    flops = step_flops(net)
    rows = []
    for who in names:
        gflops = flops / medians[who] / 1e9
        ratio = medians[who] / medians[names[0]]
        rows.append(
            Row(
                net,
                who,
                medians[who] * 1e3,
                ratio,
                gflops,
                gflops / peak,
                about[who]["max_rss_mb"],
                losses[who],
            )
        )
    theirs = {a["instructions"] for a in about.values() if a["instructions"]}
    used = [f"BLAS kernels {about[names[0]]['kernels']}", *(f"PyTorch's {t}" for t in theirs)]
    return rows, ", ".join(used)


def loss_without_dropout(who: str, net: str, threads: int, steps: int, isa: str) -> float:
    """Return a peer's loss after as many steps from the start without dropout, whose random draws
    move vgg_bn's loss by more than 5 %.
    """
    with peer(who, net, threads, dropout=False, isa=isa) as process:
        process.ask(steps=steps)
        return float(process.ask(loss=True))


def disagreements(rows: list[Row]) -> list[str]:
    """Return a line for each peer whose loss is further than 5 % from ours."""
    ours = {row.net: row.loss for row in rows if row.who == "ours"}
    return [
        f"{row.net}: losses must agree within {TOLERANCE:.0%}, got ours {ours[row.net]:.4f}, "
        f"{row.who} {row.loss:.4f}"
        for row in rows
        if abs(row.loss - ours[row.net]) > TOLERANCE * ours[row.net]
    ]


def section(rows: list[Row], command: str, machine: str, picture_name: str) -> str:
    """Return the notes and the table, and draw the picture."""
    header = (
        "net",
        "who",
        "step, ms",
        "ratio to ours",
        "GFLOP/s",
        "share of sgemm peak",
        "peak memory, MB",
        "loss",
    )
    cells = [
        (
            row.net,
            row.who,
            f"{row.step_ms:.2f}",
            f"{row.ratio_to_ours:.2f}",
            f"{row.gflops:.0f}",
            f"{row.peak_share:.0%}",
            f"{row.max_rss_mb:.0f}",
            f"{row.loss:.4f}",
        )
        for row in rows
    ]
    nets = list(dict.fromkeys(row.net for row in rows))
    found = {(row.net, row.who): row.ratio_to_ours for row in rows}
    others = [who for who in (*PEERS[1:], ONE_CORE) if any((net, who) in found for net in nets)]
    if others:
        series = {who: [found.get((net, who)) for net in nets] for who in others}
        bar_chart(DOCS / picture_name, nets, series, "their step divided by ours", line=1.0)
    picture = f"\n\n![Their step divided by ours]({picture_name})" if others else ""
    notes = (
        f"`{command}`: {machine}. Batch {BATCH}; medians of interleaved turns; GFLOP/s count the "
        "direct algorithm's operations, "
        "so an algorithm that multiplies less may pass the peak; loss: on 2,000 images after as "
        "many steps without dropout, "
        "from the same start."
    )
    return f"{notes}\n\n{markdown_table(header, cells)}{picture}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--nets", nargs="+", choices=(*NETS, *MORE_NETS), default=NETS)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isa", choices=ISAS, default="native")
    parser.add_argument("--steps", type=int, default=200)
    add_outputs(parser)
    arguments = parser.parse_args(argv)
    if arguments.steps < TURN * (WARM_UP + 1):
        parser.error(f"--steps must be at least {TURN * (WARM_UP + 1)}, got {arguments.steps}")
    peers = ["ours", *(who for who in arguments.peers if who != "ours")]
    if not has_pytorch():
        left_out = [who for who in peers if who.startswith("torch")]
        if left_out:
            print(
                f"without PyTorch (pip install '.[bench]') {', '.join(left_out)} are left out",
                file=sys.stderr,
            )
        peers = [who for who in peers if not who.startswith("torch")]
    rows: list[Row] = []
    used = "unknown"
    print(
        f"{'net':16}{'who':22}{'step_ms':>9}{'ratio':>8}{'gflops':>8}{'peak':>7}{'rss_mb':>8}{'loss':>9}"
    )
    for net in arguments.nets:
        measured, used = measure(net, peers, arguments.threads, arguments.steps, arguments.isa)
        rows += measured
        for row in measured:
            figures = (
                f"{row.step_ms:9.2f}{row.ratio_to_ours:8.2f}{row.gflops:8.0f}"
                f"{row.peak_share:7.0%}{row.max_rss_mb:8.0f}{row.loss:9.4f}"
            )
            print(f"{row.net:16}{row.who:22}{figures}", flush=True)
    threads = f"{arguments.threads} thread" + ("s" if arguments.threads > 1 else "")
    machine = f"{platform.machine()}, {threads}, {used}, {images_used()}"
    print(machine)
    shared = [{key: value for key, value in asdict(row).items() if key != "loss"} for row in rows]
    isa = [arguments.isa] if arguments.isa != "native" else []
    held = [*isa, *([threads] if arguments.threads > 1 else [])]
    arguments.variant = "".join(f"_{word.replace(' ', '_')}" for word in held)
    picture = f"training{arguments.variant}.png"
    finish(
        "benchmarks.training",
        arguments,
        argv,
        shared,
        ", ".join(["Training", *held]),
        lambda command: section(rows, command, machine, picture),
    )
    wrong = disagreements(rows)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
