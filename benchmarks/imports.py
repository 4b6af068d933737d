"""What the one line costs before the first call."""

from __future__ import annotations

from statistics import median

from .figures import Figure, Findings
from .processes import outcome

TIMES = 3
MOST_IMPORT_S, MOST_INSTALL_MS = 0.15, 50.0


def imports() -> Findings:
    """Fresh processes, one after the other; the very first only compiles the modules."""
    outcome("import_worker", "install")
    bare = [outcome("import_worker", "import") for _ in range(TIMES)]
    installed = [outcome("import_worker", "install") for _ in range(TIMES)]
    heavy = sorted({name for one in bare for name in one["heavy"]})
    return Findings(
        "Import",
        [
            Figure("import litellm_gateway_plugin, CPU", median(one["took"] for one in bare), "s", MOST_IMPORT_S),
            Figure(f"it imports{': ' + ', '.join(heavy) if heavy else ' nothing heavy'}", len(heavy), "", 0),
            Figure("import litellm, CPU", median(one["litellm"] for one in installed), "s"),
            Figure("install() after that, CPU", median(one["took"] for one in installed) * 1000, "ms", MOST_INSTALL_MS),
        ],
    )
