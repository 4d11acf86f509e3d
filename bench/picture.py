"""Draw a command and what it prints as an SVG, for the README.

    python bench/picture.py docs/simulate.svg smartdeal simulate resnet8
"""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 118  # columns


def main() -> int:
    target, *command = sys.argv[1:]
    shown = subprocess.run(command, capture_output=True, text=True, check=True,
                           env={**os.environ, "COLUMNS": str(WIDTH)})
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text(f"$ {' '.join(command)}", style="bold"))
    console.print(Text(shown.stdout.rstrip()))
    # Without the fonts that it would fetch: any monospaced one will do.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="smartdeal"),
                     flags=re.DOTALL)
    Path(target).write_text(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
