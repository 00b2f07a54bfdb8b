"""The directive `plan`: what a comparison of sizes costs, computed while the documentation is built."""

from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

from superpose.costs import Costs, Size, predict
from superpose.metrics import CKA, CKA_DEBIASED, RSA

SAMPLES, LAYERS, UNITS = 10**9, 100, 8192
DRAWN = 20_000
SYSTEMS = {f"layer{i}": Size(SAMPLES, UNITS, "float16") for i in range(LAYERS)}
KERNELS = (CKA, CKA_DEBIASED, RSA)
MEMORIES = ("64GB", "256GB", "1TB", "4TB")


def planned(memory: str, **options: Any) -> Costs:
    """Return the costs of all pairs of the layers in so much memory."""
    return predict(SYSTEMS, memory=memory, interval_samples=DRAWN, permutations=0, **options)


def sizes() -> list[tuple[str, str]]:
    """Return what does not depend on the memory."""
    costs = planned("1TB", cv=None, metrics=KERNELS)
    folded = planned("1TB")
    square = 8 * UNITS**2
    pairs = LAYERS * (LAYERS - 1) // 2
    products = costs.table.set_index("work").loc["products"]
    return [
        ("one reading of a layer", _bytes(SYSTEMS["layer0"].bytes)),
        ("one reading of all layers", _bytes(LAYERS * SYSTEMS["layer0"].bytes)),
        ("one layer's own sums, or one pair's, of one fold", _bytes(square)),
        ("the same of five folds", _bytes(5 * square)),
        (f"the sums of all {pairs:,} pairs, of one fold", _bytes((LAYERS + pairs) * square)),
        ("operations of the sums", f"{products.flops:.2g}"),
        ("operations of RSA, CKA and debiased CKA beside them", f"{costs.flops - products.flops:.2g}"),
        ("the same with regressions over five folds", f"{folded.flops - products.flops:.2g}"),
        ("core hours of the sums, on the machine that built this page", f"{products.seconds / 3600:.2g}"),
    ]


def groups() -> list[tuple[str, ...]]:
    """Return, for each memory, what becomes of RSA, CKA and debiased CKA of all pairs."""
    rows = []
    for memory in MEMORIES:
        costs = planned(memory, cv=None, metrics=KERNELS)
        times = max(costs.reads.values())
        held = (_bytes(costs.sums), _bytes(costs.memory))
        rows.append((memory, f"{costs.groups:,}", *held, f"{times:.1f}", _bytes(costs.bytes)))
    return rows


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"


TABLES = {
    "sizes": (("what", "how much"), sizes),
    "groups": (("memory", "groups of pairs", "sums held", "held in all", "readings of a layer", "bytes read"), groups),
}


class Plan(Directive):
    """`.. plan:: sizes` or `.. plan:: groups` shows the table of that name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table; its cells are text and never markup."""
        headings, rows = TABLES[self.arguments[0]]
        group = nodes.tgroup(cols=len(headings))
        group += [nodes.colspec(colwidth=1) for _ in headings]
        group += nodes.thead("", _row(headings))
        group += nodes.tbody("", *map(_row, rows()))
        return [nodes.table("", group)]


def _row(texts: Any) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=text)) for text in texts))


def setup(app: Any) -> None:
    """Register the directive."""
    app.add_directive("plan", Plan)
