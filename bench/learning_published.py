# SPDX-License-Identifier: Apache-2.0
"""What presets learn beside the published means of other methods (bench/published.json)."""
import statistics

from learning_records import read_json
from learning_tables import EVALUATION, by_task, curves, kind_of, number
from markdown import table
from recording import ROOT

PUBLISHED = ROOT / "bench" / "published.json"
STEPS = (2500, *(1000 * thousands for thousands in (5, 10, 20, 30, 50, 100)))


def is_preset(record):
    """A preset as it is: how often it is evaluated changes nothing."""
    return set(record["settings"]) <= {"trainer.eval_interval"}


def method(record):
    """What trained, for a row."""
    if record["command"].startswith("softmpc "):
        return f"softmpc, `{record['preset']}`"
    return f"{record['preset'].upper()} of stable-baselines3, by us"


def hours(value, machine):
    """Wall clock per 100,000 environment steps."""
    return f"{value:.2f} ({machine})"


def own_hours(record):
    """The seeds' mean, evaluations included; every run has one thread."""
    rates = [run.get("steps_per_second") for run in record["seeds"].values()]
    if not all(rates):
        return "-"
    seconds = statistics.fmean(100_000 / rate for rate in rates)
    return hours(seconds / 3600, f"a core of {record['origin']['machine']['cpu']}")


def own_rows(records):
    for record in filter(is_preset, records):
        kind = kind_of(record)
        curve = curves(record, kind)
        name = method(record) + ("" if kind == EVALUATION else " (training returns)")
        means = {step: number(statistics.fmean(by_seed.values())) for step, by_seed in curve.items()}
        yield [name, len(record["seeds"]), *(means.get(step, "-") for step in STEPS), own_hours(record)]


def published_rows(entries, sources):
    for entry in entries:
        if entry["source"] not in sources:
            sources.append(entry["source"])
        means = entry["mean"]
        values = (number(means[str(step)]) if str(step) in means else "-" for step in STEPS)
        note = sources.index(entry["source"]) + 1
        took = hours(entry["hours"], entry["hours_on"]) if "hours" in entry else "-"
        yield [f"{entry['method']} ({entry['version']}) [{note}]", entry["seeds"], *values, took]


def read_published():
    """{task: entries}."""
    return read_json(PUBLISHED)


def published_table(records):
    """Markdown: per task the presets that are recorded, then what is published; means over seeds."""
    published, sources, rows = read_published(), [], []
    for task, studies in by_task(records).items():
        ours = list(own_rows(studies))
        if not ours:
            continue
        task_rows = [*ours, *published_rows(published.get(task, []), sources)]
        rows += [[task if index == 0 else "", *row] for index, row in enumerate(task_rows)]
    text = table(["task", "method", "seeds", *(f"{step:,}" for step in STEPS), "hours per 100,000"], rows)
    if not sources:
        return text
    notes = "; ".join(f"[{index + 1}] {source}" for index, source in enumerate(sources))
    return f"{text}\n\nPublished: {notes}."
