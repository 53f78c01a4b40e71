"""docs/ops.md is what the registry says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from m2t_fast.ops import registry

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_what_the_registry_says():
    spec = importlib.util.spec_from_file_location("ops_table", DOCS / "ops_table.py")
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    assert (DOCS / "ops.md").read_text(encoding="utf-8") == table.page(), "python docs/ops_table.py writes it anew"
    for backend in ("cpu", "reference"):
        if registry.why_unavailable(backend) is None:
            for name, op in registry.OPS.items():
                has = registry.why_not(name, backend) is None
                assert has == (backend == "reference" or name in table.functions(backend, op.file)), (backend, name)
