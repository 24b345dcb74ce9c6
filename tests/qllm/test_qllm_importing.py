"""Late imports from several threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PACKAGE = {
    # Holds the package while the other thread is inside its part, then wants that part.
    "__init__.py": "import __main__, time\n__main__.entered.set()\ntime.sleep(0.3)\n"
    "from pair.part import x\n",
    "part.py": "import time\ntime.sleep(0.05)\nfrom pair import other\nx = 1\n",
    "other.py": "",
}

_TWO_THREADS = """
import sys, threading
from qllm.importing import import_in_turns
import_in_turns()
import_in_turns()  # once more changes nothing
sys.path.insert(0, sys.argv[1])
entered, failed = threading.Event(), []
def whole():
    try:
        import pair
    except ImportError as error:
        failed.append(error)
def part():
    entered.wait()
    try:
        from pair.part import x
    except (ImportError, KeyError) as error:
        failed.append(error)
threads = [threading.Thread(target=work) for work in (whole, part)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(failed))
"""


def test_two_threads_import_a_package_and_its_part(tmp_path: Path) -> None:
    """Without `import_in_turns`, Python 3.11 fails in both threads."""
    (tmp_path / "pair").mkdir()
    for name, text in _PACKAGE.items():
        (tmp_path / "pair" / name).write_text(text)
    words = [sys.executable, "-c", _TWO_THREADS, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"], done.stderr
