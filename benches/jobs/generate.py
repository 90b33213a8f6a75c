"""jobs/movies.toml, a hand-written loop, and Python's Faker."""

import sys

from .common import ROOT, RUNNER, Failed, build_runner, cores, floor_program, median, python, run_alone


def add_commands(commands):
    generate = commands.add_parser("generate", help="made-up movies as NDJSON")
    generate.add_argument("rows", nargs="?", type=int, default=100_000, metavar="ROWS", help="default 100000")
    generate.add_argument("--rounds", type=int, default=5, help="runs of each contender (default 5)")
    generate.set_defaults(run=generate_command)


# Faker is slow: few rows are enough to know its rate.
ROWS_FAKED = 100


def generate_command(options):
    build_runner()
    floor, job = floor_program("movies_floor"), ROOT / "jobs" / "movies.toml"
    contenders = {
        "runner": (options.rows, [RUNNER, "--quiet", "--set", f"sources.movies.count={options.rows}", job]),
        "floor": (options.rows, [floor, str(options.rows), "out/movies.ndjson"]),
        "python faker": (ROWS_FAKED, [python(), ROOT / "benches/loaders/movies_faker.py", str(ROWS_FAKED), "out/movies.ndjson"]),
    }
    runs = {name: [] for name in contenders}
    for number in range(options.rounds):
        for name, (rows, command) in contenders.items():
            result = run_alone(command, made_movies)
            lines, result["size"] = result["checked"]
            if lines != rows:
                raise Failed(f"{name} made {lines} rows of {rows}")
            runs[name].append(result)
            print(f"round {number + 1}, {name}: {result['wall']:.2f} s", file=sys.stderr)
    print(f"made-up movies, {cores()}, median of {options.rounds} rounds:\n")
    print("| | rows | wall s | CPU s | rows/s | MB/s | peak RSS MiB | rows/s ÷ floor |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    rates = {name: rows / median(runs[name], "wall") for name, (rows, _) in contenders.items()}
    for name, (rows, _) in contenders.items():
        wall, cpu, peak, size = (median(runs[name], key) for key in ("wall", "cpu", "peak", "size"))
        print(
            f"| {name} | {rows:,} | {wall:.2f} | {cpu:.2f} | {rates[name]:,.0f} | {size / wall / 1e6:,.0f} "
            f"| {peak:.0f} | {rates[name] / rates['floor']:.3f} |"
        )
    return 0


def made_movies(folder):
    """Lines and bytes of what was made."""
    out = folder / "out" / "movies.ndjson"
    with open(out, "rb") as file:
        return sum(1 for _ in file), out.stat().st_size
