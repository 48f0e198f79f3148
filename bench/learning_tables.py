# SPDX-License-Identifier: Apache-2.0
"""Curves of recorded studies, and what bench/learning says of them in text."""
import statistics

from learning_records import Fault, commit_label
from learning_statistics import band, bootstrap_interval, interquartile_mean, mann_whitney
from markdown import table

STEPS = tuple(1000 * thousands for thousands in (5, 10, 20, 30, 50, 100, 200))
EVALUATION, TRAINING = "evaluation", "training"
HEADER = ["steps", "mean", "median", "20-80 %", "interquartile mean", "95 % interval", "worst seed", "seeds"]


def by_task(records):
    """{task: its records}, in the order of the records."""
    groups = {}
    for record in records:
        groups.setdefault(record["task"], []).append(record)
    return groups


def kind_of(*records):
    """Evaluation returns, if every seed of all records has them."""
    runs = [run for record in records for run in record["seeds"].values()]
    return EVALUATION if all(run["evaluations"] for run in runs) else TRAINING


def meaning(record, kind):
    if kind == TRAINING:
        return (f"training returns, without evaluations: each seed's median over the {record['window']:,} steps before")
    episodes = {len(returns) for run in record["seeds"].values() for _, _, returns in run["evaluations"]}
    return f"evaluation returns: each seed's mean over {' or '.join(map(str, sorted(episodes)))} episodes at that step"


def curves(record, kind):
    """{step: {seed: return}}; a seed without an episode in a window of training is not in it."""
    found = {}
    for seed, run in record["seeds"].items():
        if kind == EVALUATION:
            points = [(step, mean) for step, mean, _ in run["evaluations"]]
        else:
            ends = range(record["window"], record["steps"] + record["window"], record["window"])
            points = [(min(end, record["steps"]), median) for end, median in zip(ends, run["training"])
                      if median is not None]
        for step, value in points:
            found.setdefault(step, {})[seed] = value
    return dict(sorted(found.items()))


def number(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"


def row(step, by_seed):
    values = list(by_seed.values())
    interval = bootstrap_interval(interquartile_mean, values)
    worst = min(by_seed, key=by_seed.get)
    return [f"{step:,}", number(statistics.fmean(values)), number(statistics.median(values)),
            " to ".join(map(number, band(values))), number(interquartile_mean(values)),
            " to ".join(map(number, interval)) if interval else "-", f"{number(by_seed[worst])} (seed {worst})",
            len(values)]


def study_table(record):
    """A study's statistics over seeds at STEPS and at its end."""
    kind = kind_of(record)
    curve = curves(record, kind)
    rows = [row(step, curve[step]) for step in curve if step in STEPS or step == max(curve)]
    origin = record["origin"]
    text = (f"**{record['study']}**: {record['shows']}\n\n`{record['command']}`\n\n"
            f"{meaning(record, kind).capitalize()}. Commit {commit_label(origin)}, {origin['machine']['cpu']}, "
            f"{origin['machine']['cores']} cores.\n\n" + table(HEADER, rows))
    if kind == TRAINING:
        ends = sorted(run["last_ten"]["median"] for run in record["seeds"].values() if run["last_ten"])
        text += f"\n\nMedian of the last ten episodes, by seed: {'; '.join(map(number, ends))}."
    return text


def at_step(record, curve, step):
    if step not in curve:
        raise Fault(f"study '{record['study']}' has no returns at step {step}; it has them at "
                    f"{', '.join(map(str, curve))}")
    return list(curve[step].values())


def over_curve(curve, steps):
    """Each seed's mean over the steps."""
    by_seed = {}
    for step in steps:
        for seed, value in curve[step].items():
            by_seed.setdefault(seed, []).append(value)
    return [statistics.fmean(values) for values in by_seed.values()]


def comparison(a, b, step):
    """How often a seed of record a beats one of b, at a step or, without one, over all steps that both have."""
    kind = kind_of(a, b)
    both = [curves(record, kind) for record in (a, b)]
    if step is not None:
        sides, where = [at_step(record, curve, step) for record, curve in zip((a, b), both)], f"at step {step}"
    else:
        common = [s for s in both[0] if s in both[1]]
        if not common:
            raise Fault(f"studies '{a['study']}' and '{b['study']}' have no step in common")
        sides = [over_curve(curve, common) for curve in both]
        where = f"mean of the {len(common)} points of the curves up to step {common[-1]}"
    share, deviation = mann_whitney(*sides)
    return (f"A seed of {a['study']} beats one of {b['study']} with probability {share:.2f} "
            f"({len(sides[0])} and {len(sides[1])} seeds; {kind} returns, {where}); "
            f"chance gives 0.50 with a standard deviation of {deviation:.2f}")
