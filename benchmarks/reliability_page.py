"""The head of docs/RELIABILITY.md, whose sections several commands write."""

from benchmarks.document import DOCS

PAGE = DOCS / "RELIABILITY.md"
PREAMBLE = """# What is promised, and by which command it is checked

| promise | checked by |
| --- | --- |
| no acknowledged trial is lost, whatever is killed | `make soak MINUTES=30`, `tests/faults/` |
| memory, descriptors and threads stay flat; what grows with a study grows in proportion to it | \
`python -m benchmarks.reliability` |
| a million rows are predicted in bounded memory | `python -m benchmarks.reliability --cases rows` |
| memory of large pictures and folders is bounded | `python -m benchmarks.memory` |
| time budgets are kept, whatever else the machine does | `python -m benchmarks.budgets` |
| the same study to the bit, with any number of slots | `python -m benchmarks.bits` |
| no file is partial, and nothing is lost, whichever write fails | \
`python -m tests.faults.every_write` |
| whatever a reader does not take it refuses in its own words | `make fuzz MINUTES=10` |
| lines and branches of the product are run by tests | `make coverage` |
| a wrong line of the product is noticed by a test | `make mutate SAMPLE=20` |

Each section below was written by the command that it names. On a machine that others use,
processor time says what something costs; seconds are those that one waits. Processor time is that
of a command and of all that it starts; growth, descriptors and threads go from the first quarter of
its work, begun after its imports, to the last; "left behind" counts processes and files in shared
memory.
"""
