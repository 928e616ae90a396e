"""The command line of the fault suite: ``python -m tests.faults``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random, SystemRandom

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: no pools of threads that a fork would lose
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.pop("DVC_STAGE", None)


def main() -> int:
    """Run the faults; 0 when all went well, 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Faults on purpose, and what is left.")
    parser.add_argument("--kills", type=int, default=200, help="how many processes are killed at least (200)")
    parser.add_argument("--seed", type=int, help="of the moments; without one a new one is drawn, and printed")
    parser.add_argument("--only", metavar="NAME", help="only faults whose name contains this")
    parser.add_argument("--short", action="store_true", help="only what takes a few seconds each, with few kills")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table there")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also behind an &, where children would ignore it
    seed = SystemRandom().randrange(10**6) if options.seed is None else options.seed

    import torch

    from tests.faults.everything import faults
    from tests.faults.found import NotHere

    torch.set_num_threads(1)
    os.umask(0o022)
    begin, rows, kills = time.monotonic(), [], 0
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as temporary:
        os.chmod(temporary, 0o755)  # one fault looks at it with another account
        for name, fault in faults(options.kills, short=options.short).items():
            if options.only and options.only not in name:
                continue
            started, row = time.monotonic(), {"fault": name, "result": "ok", "done": "", "seen": "", "after": ""}
            try:
                found = fault(Path(temporary) / name.replace(" ", "-"), Random(f"{seed}/{name}"))
                row |= {"done": found.done, "seen": found.seen, "after": found.after}
                kills += found.kills
            except NotHere as reason:
                row |= {"result": "skipped", "done": str(reason)}
            except Exception as problem:  # the other faults are worth running
                row |= {"result": "FAILED", "after": f"{type(problem).__name__}: {problem}"}
                print(f"{name}:", *traceback.format_exception(problem), file=sys.stderr)
            row["seconds"] = round(time.monotonic() - started, 1)
            rows.append(row)
            print(f"{row['result']:8}{row['seconds']:6.1f} s  {name}", file=sys.stderr, flush=True)

    print("\n| fault | what was done | what the user sees | afterwards | |\n|:--|:--|:--|:--|:--|")
    for row in rows:
        cells = (str(row[key]).replace("|", "/") for key in ("fault", "done", "seen", "after", "result"))
        print("|", " | ".join(cells), "|")
    failed = sum(row["result"] == "FAILED" for row in rows)
    minutes = (time.monotonic() - begin) / 60
    print(f"\n{len(rows)} faults, {failed} failed; {kills} kills; seed {seed}; {minutes:.1f} minutes")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "kills": kills, "seed": seed}))
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
