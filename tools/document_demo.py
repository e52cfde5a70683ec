"""Put the results of the last `make demo` into README.md: the table and the pictures.

python tools/document_demo.py demo/
"""

import json
import re
import shutil
import sys
from pathlib import Path

from isplit_tf.demo.report import DemoReport

ROOT = Path(__file__).parent.parent
MARKS = "<!-- demo table -->", "<!-- end of demo table -->"


def main(folder: Path) -> None:
    record = json.loads((folder / "report.json").read_text())
    report = DemoReport(**{key: value for key, value in record.items() if key not in ("format_version", "kind")})
    header, rows = report.rows()
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    table = "\n".join(lines)
    readme = ROOT / "README.md"
    pattern = f"{re.escape(MARKS[0])}.*{re.escape(MARKS[1])}"
    block = f"{MARKS[0]}\n{table}\n\nSplit at `{report.cut}`; {report.n_test:,} test images.\n{MARKS[1]}"
    readme.write_text(re.sub(pattern, lambda _: block, readme.read_text(), flags=re.DOTALL))
    for name in ("curve", "bytes"):
        shutil.copy(folder / f"{name}.png", ROOT / "docs" / "images" / f"demo_{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
