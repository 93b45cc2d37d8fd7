"""Read mutated files until the time is over: ``python tests/hostile/fuzz.py --reader csv``.

Every case is a pure function of (reader, seed, number), so a finding is made again by
``--seed S --case N``. Exit code 1 and the offending files in ``--out`` where something broke.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

for name, value in {
    "OMP_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "HF_HUB_OFFLINE": "1",
}.items():
    os.environ.setdefault(name, value)
sys.path.insert(0, str(Path(__file__).parents[1]))

from hostile import prison  # noqa: E402
from hostile.readers import READERS, Reader  # noqa: E402

_CASES_A_CHILD = 200
_LONGEST = 1_000_000
_SMALL = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF)
_LARGE = (2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
_WHOLE = (*_SMALL, *_LARGE)


def mutated(reader: Reader, seeds: list[bytes], seed: int, case: int) -> bytes:
    """The bytes of one case."""
    rng = random.Random(f"{reader.name}:{seed}:{case}")
    content = bytearray(rng.choice(seeds))
    for _ in range(1 + int(rng.expovariate(0.5))):
        _mutate(content, reader, seeds, rng)
    return bytes(content[:_LONGEST])


def _mutate(content: bytearray, reader: Reader, seeds: list[bytes], rng: random.Random) -> None:
    size = len(content)
    at = rng.randrange(size + 1)
    length = min(size - at, int(rng.expovariate(1 / 12)) + 1)
    kind = rng.randrange(10)
    if kind == 0 and at < size:
        content[at] ^= 1 << rng.randrange(8)
    elif kind == 1 and at < size:
        content[at] = rng.randrange(256)
    elif kind == 2:
        del content[at : at + length]
    elif kind == 3:
        content[at:at] = content[at : at + length] * rng.choice((1, 1, 2, 30, 3000))
    elif kind == 4:
        width = rng.choice((1, 2, 4, 8))
        value = (rng.choice(_WHOLE) + rng.choice((0, 0, 1, -1))) % 256**width
        content[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))
    elif kind == 5 and reader.words:
        word = rng.choice(reader.words)
        content[at : at + rng.choice((0, len(word), length))] = word
    elif kind == 6:
        other = rng.choice(seeds)
        begin = rng.randrange(len(other) + 1)
        content[at : at + length] = other[begin : begin + length * rng.choice((1, 1, 20))]
    elif kind == 7 and rng.random() < 0.3:
        del content[at:]
    elif kind == 8:
        to = rng.randrange(size + 1)
        content[to : to + length] = content[at : at + length]
    elif kind == 9:
        content[at : at + length] = rng.randbytes(length)


def main() -> int:
    """Fuzz one reader."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reader", choices=READERS, required=True)
    parser.add_argument("--minutes", type=float, default=10, help="CPU time, all in one thread")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--case", type=int, help="read this case alone, in this process")
    parser.add_argument("--out", type=Path, help="a folder for files that broke something")
    args = parser.parse_args()
    reader = READERS[args.reader]
    seeds = reader.seeds()
    memory = Path("/dev/shm")  # a disk's waiting is no computing
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        read = reader.reading(Path(folder))
        if args.case is not None:
            read(mutated(reader, seeds, args.seed, args.case))
            return 0
        return _fuzz(reader, seeds, read, args)


def _fuzz(reader: Reader, seeds: list[bytes], read: object, args: argparse.Namespace) -> int:
    total, first, began = prison.Findings(), args.first, time.monotonic()
    minutes = 0
    while total.cpu_seconds < 60 * args.minutes:
        cases = range(first, first + _CASES_A_CHILD)
        findings = prison.judge(cases, lambda c: read(mutated(reader, seeds, args.seed, c)))
        first = cases.stop
        total.refused += findings.refused
        total.read += findings.read
        total.broken += findings.broken
        total.cpu_seconds += findings.cpu_seconds
        total.peak_bytes = max(total.peak_bytes, findings.peak_bytes)
        if total.cpu_seconds // 60 > minutes:
            minutes = int(total.cpu_seconds // 60)
            print(_sum(reader, total, began), flush=True)
        for case, words in findings.broken:
            print(f"{reader.name} --seed {args.seed} --case {case}:\n{words}", flush=True)
            if args.out is not None:
                args.out.mkdir(parents=True, exist_ok=True)
                content = mutated(reader, seeds, args.seed, case)
                (args.out / f"{reader.name}-{args.seed}-{case}").write_bytes(content)
    print(_sum(reader, total, began))
    return 1 if total.broken else 0


def _sum(reader: Reader, total: prison.Findings, began: float) -> str:
    return (
        f"{reader.name}: {total.cases:,} files in {total.cpu_seconds / 60:.1f} CPU minutes "
        f"({(time.monotonic() - began) / 60:.1f} on the clock): {total.refused:,} refused, "
        f"{total.read:,} read, {len(total.broken)} broke something; "
        f"peak {total.peak_bytes / 2**20:,.0f} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
