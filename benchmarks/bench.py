"""The whole benchmark in one run: `make bench`, which takes a good hour on two cores.

    pip install -e '.[bench]'
    python benchmarks/bench.py

Every row is measured in a process of its own, one after the other, and written to runs/bench/results.json as soon as it
is there. So a run that was stopped goes on where it stopped, as long as the machine is the same; `--only recipe` does
the rows of one part. When all are there, they go to benchmarks/, with RESULTS.md and its plots, and the next run starts
afresh. Let the machine do nothing else meanwhile: a second busy process on two cores makes torch many times slower.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import memory
import recipe
import report
import sampler_cost
import sampling_quality
import training_speed
from machine import machine

HERE = Path(__file__).parent
FOLDER = HERE.parent / "runs" / "bench"
PARTS = {  # each module has ROWS, {name: measure(folder) -> figures}
    "recipe": recipe,
    "training_speed": training_speed,
    "sampler_cost": sampler_cost,
    "sampling_quality": sampling_quality,
    "memory": memory,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, help="measure the rows of this part only")
    parser.add_argument("--row", nargs=2, metavar=("PART", "NAME"), help="measure one row, here, and print it as JSON")
    chosen = parser.parse_args()
    if chosen.row:
        return print(json.dumps(measure(*chosen.row)))
    FOLDER.mkdir(parents=True, exist_ok=True)
    results = begun(FOLDER / "results.json", machine())
    for part, name in missing(results):
        if chosen.only in (None, part):
            results["parts"].setdefault(part, {})[name] = in_a_child(part, name)
            write(FOLDER / "results.json", results)
            print(f"{part}: {name}: {results['parts'][part][name]}", flush=True)
    if not missing(results):
        finish(results)


def begun(path, here):
    """The results so far; those of another machine are refused, because figures are compared within a run only."""
    results = json.loads(path.read_text()) if path.exists() else {"machine": here, "parts": {}}
    if results["machine"] != here:
        raise SystemExit(f"{path} was begun on {results['machine']}; this is {here}. Delete it to start afresh.")
    return results


def missing(results):
    return [(part, name) for part in PARTS for name in PARTS[part].ROWS if name not in results["parts"].get(part, {})]


def in_a_child(part, name):
    """The row, measured in a new process: every row starts alike, and none keeps another's memory."""
    command = [sys.executable, __file__, "--row", part, name]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def measure(part, name):
    figures = PARTS[part].ROWS[name](FOLDER)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux kilobytes
    return figures | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}


def write(path, results):
    part = path.with_suffix(".part")
    part.write_text(json.dumps(results, indent=1) + "\n")
    part.replace(path)


def finish(results):
    """Put what was measured where it is committed, and clear the way for another run."""
    in_order = {part: {name: results["parts"][part][name] for name in module.ROWS} for part, module in PARTS.items()}
    write(HERE / "results.json", results | {"parts": in_order})
    (HERE / "pictures").mkdir(exist_ok=True)
    for picture in FOLDER.glob("*.png"):
        shutil.move(picture, HERE / "pictures" / picture.name)
    report.write()
    (FOLDER / "results.json").unlink()
    print(f"wrote {HERE / 'RESULTS.md'}")


if __name__ == "__main__":
    main()
