"""What a search would do, who would train, and how long it takes: what `--dry-run` says."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discovery.app.commands.forecast import ALONE, around, faster, trained
from discovery.app.commands.rates import Rate, rates_of
from discovery.app.commands.staff import CPU, Staff, staff_of
from discovery.core.config.search import SearchConfig
from discovery.display.formats import duration, short
from discovery.search.progress import planned

if TYPE_CHECKING:
    from discovery.executors.ray.messages import Cluster


@dataclass(frozen=True)
class Plan:
    """What a search would do.

    Attributes:
        seconds: None where nobody knows how fast the workers are.
        seconds_before: of these, until the workers are ready and programs compiled.
        workers: that are counted on, all of them of one kind.
        device: that they train on, "cpu" for cores.
        rates: of those tasks whose rate is known.
        cluster: what Ray has now, where it was asked.
        notes: sentences on who is counted, and on what would be faster.
    """

    generations: int
    trainings: int
    steps: float
    workers: int
    device: str
    seconds: float | None
    seconds_before: float | None
    rates: dict[str, Rate]
    cluster: dict[str, Any] | None
    notes: list[str]

    def text(self, config: SearchConfig) -> str:
        """For people, as comments below the config."""
        lines = [
            f"{self.generations} generations of {trainings_text(config)}",
            f"{self.trainings:,} trainings, {short(self.steps)} environment steps in all",
            *self.notes,
        ]
        if self.seconds is not None and self.seconds_before is not None:
            each = "core" if self.device == CPU else "worker"
            lines.append(
                f"about {duration(self.seconds)} with {self.workers} worker{'s' * (self.workers > 1)}, "
                f"{duration(self.seconds_before)} of it to start and to compile; at these rates per {each}:"
            )
        lines += [
            f"  {name}: {short(rate.steps_per_second)} steps/s ({rate.source})"
            for name, rate in self.rates.items()
        ]
        return "\n".join(f"# {line}" for line in lines)


def trainings_text(config: SearchConfig) -> str:
    """The trainings of one generation, in words."""
    meta, tasks = config.meta, len(config.seen)
    every = f"every {meta.mean_every} generations" if meta.mean_every else "at the end"
    every = "every generation" if meta.mean_every == 1 else every
    each = " on each task" if tasks > 1 else ""
    proposals = f"{meta.population} proposals x {config.seeds} seeds{each}"
    return f"{proposals}, and {config.selection_seeds} of the mean {every}"


def estimate(config: SearchConfig, output: Path) -> Plan:
    """What `config` would do with the workers that are there now, and the rates of runs below `output`.

    Raises:
        BadInput: the cluster cannot be joined, or has fewer GPUs than asked for; Ray is not installed.
        ExecutorError: a Ray of our own, which is asked for GPUs, does not come up.
    """
    staffs, cluster = staff_of(config)
    rates = [rates_of(config, output, staff.device) for staff in staffs]
    known = [index for index, found in enumerate(rates) if len(found) == len(config.seen)]
    chosen = known[0] if known else 0
    staff, notes, seconds, before = staffs[chosen], [], None, None
    if cluster:
        notes.append(_there(config, cluster))
    if staff.asked > staff.workers:
        notes.append(f"{staff.asked} workers are asked for; there is room for {staff.workers} now")
    if known:
        numbers = {name: rate.steps_per_second for name, rate in rates[chosen].items()}
        before = around(config, {name: rate.compile_seconds for name, rate in rates[chosen].items()})
        seconds = before + trained(config, numbers, staff.workers).seconds
        notes += [
            f"not counted: {_who(other)}, with which it is sooner" for other in staffs if other is not staff
        ]
        notes += _advice(config, numbers, staff.workers, before)
    else:
        width = config.agents_per_call
        notes.append(
            f"how long it takes is not known: no run in {output} had {_who(staff)} at work on these tasks, "
            f"with {'as many agents a call as fit' if width is None else f'{width} agents a call'}"
        )
    trainings, steps = planned(config)
    return Plan(
        generations=config.generations,
        trainings=trainings,
        steps=steps,
        workers=staff.workers,
        device=staff.device,
        seconds=seconds,
        seconds_before=before,
        rates=rates[chosen],
        cluster=cluster._asdict() if cluster else None,
        notes=notes,
    )


def _there(config: SearchConfig, cluster: "Cluster") -> str:
    whose = f"the cluster at {cluster.address}" if config.address else "a Ray of our own"
    nodes = f"{cluster.nodes} node{'s' * (cluster.nodes != 1)}"
    return f"{whose} has {nodes}, {cluster.cpus} cores and {sum(cluster.gpus)} GPUs, all taken to be free"


def _who(staff: Staff) -> str:
    where = "cores" if staff.device == CPU else f"{staff.device} GPUs".lstrip()
    return f"{staff.workers} workers on {where}"


def _advice(config: SearchConfig, rates: dict[str, float], workers: int, before: float) -> list[str]:
    """At most one line: fewer agents a call, where workers are idle for want of calls."""
    found = faster(config, rates, workers, before)
    if found is None:
        return []
    width, seconds, idle = found
    rate = f"{ALONE:g} of these rates, as for one agent a call" if width == 1 else "the same rates"
    return [
        f"{workers} workers are idle {idle:.0%} of the time for want of calls; with agents_per_call {width} "
        f"it is about {duration(seconds)}, at {rate}; scores depend on it, in their last digits"
    ]
