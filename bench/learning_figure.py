# SPDX-License-Identifier: Apache-2.0
"""Learning curves as a picture."""
import statistics

from learning_published import read_published
from learning_records import Fault
from learning_statistics import band
from learning_tables import by_task, curves, kind_of

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito's


def pyplot():
    try:
        import matplotlib
    except ImportError as error:
        raise Fault("draw needs matplotlib: python3 -m venv .deps/bench && .deps/bench/bin/pip install -r "
                    "bench/requirements.txt, then .deps/bench/bin/python bench/learning draw ...") from error
    matplotlib.use("Agg")
    matplotlib.rcParams.update({
        "svg.hashsalt": "softmpc", "font.size": 11, "axes.titlesize": 13, "axes.spines.top": False,
        "axes.spines.right": False, "axes.edgecolor": "#888888", "legend.frameon": False})
    import matplotlib.pyplot
    return matplotlib.pyplot


def draw_study(axes, record, colour, kind):
    """Mean and band of one study."""
    curve = {step: list(by_seed.values()) for step, by_seed in curves(record, kind).items()}
    thousands, bands = [step / 1000 for step in curve], [band(values) for values in curve.values()]
    axes.fill_between(thousands, [low for low, _ in bands], [high for _, high in bands], color=colour, alpha=0.18,
                      linewidth=0)
    axes.plot(thousands, [statistics.fmean(values) for values in curve.values()], color=colour, linewidth=2,
              label=f"{record['study']} ({len(record['seeds'])} seeds)")


def draw_published(axes, entries, longest):
    """Published means that fall into the panel, as far as they are a curve there."""
    for index, entry in enumerate(entries):
        points = [(int(step) / 1000, mean) for step, mean in entry["mean"].items() if int(step) <= longest]
        if len(points) > 1:
            axes.plot(*zip(*points), color="#666666", linestyle="--", linewidth=1.2, marker="os^v"[index % 4],
                      markersize=4, label=f"{entry['method']}, published ({entry['seeds']} seeds)")


def draw_task(axes, task, records, published, legend_columns):
    kind = kind_of(*records)  # the returns of a panel are of one kind
    for index, record in enumerate(records):
        draw_study(axes, record, COLOURS[index % len(COLOURS)], kind)
    draw_published(axes, published, max(record["steps"] for record in records))
    axes.set_title(task, loc="left", fontweight="bold")
    axes.set_title("mean and 20-80 % of seeds", loc="right", fontsize=10, color="#555555")
    axes.set_xlabel("environment steps (thousands)")
    axes.set_ylabel(f"{kind} return")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value == round(value) else f"{value:g}")
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=6, steps=[1, 2, 5, 10])
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=legend_columns, fontsize=10)


def draw(records, out):
    """One panel a task, two beside each other."""
    panels_of, published = by_task(records), read_published()
    plt = pyplot()
    columns = min(2, len(panels_of))
    rows = -(-len(panels_of) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(8.5 if columns == 1 else 11, 4.5 * rows), squeeze=False,
                                  layout="constrained")
    for axes in panels.flat[len(panels_of):]:
        axes.remove()
    for axes, (task, studies) in zip(panels.flat, panels_of.items()):
        draw_task(axes, task, studies, published.get(task, []), 2 if columns == 1 else 1)
    try:
        figure.savefig(out, dpi=150, metadata={"Date": None} if str(out).endswith(".svg") else None)
    except OSError as error:
        raise Fault(f"{out}: {error.strerror}") from error
    except ValueError as error:
        raise Fault(f"{out}: {error}") from error
    plt.close(figure)
