"""A loaded run for users: its data, and methods that plot and report.

run = load_run("runs/...")
run.plot_objective()
run.report()
"""

from pathlib import Path

from matplotlib.figure import Figure

from discovery.display.pictures import runs
from discovery.display.pictures.found import draw_found
from discovery.display.report import write_report
from discovery.results import loaded, summary
from discovery.results.loaded import Generation
from discovery.store.run import Run


def load_run(path: str | Path) -> "LoadedRun":
    """Load a run from its folder.

    Raises:
        BadInput: `path` is not a run.
        LedgerError: its ledger cannot be read.
    """
    with Run.open(path) as run:
        return LoadedRun(run)


class LoadedRun(loaded.RunData):
    """A snapshot of a run; its data are described in `discovery.results.loaded`."""

    def __repr__(self) -> str:
        return f"LoadedRun({summary.line(self)})"

    def _repr_html_(self) -> str:
        return summary.html(summary.facts(self))

    def plot_meta_learning(self, task: str | None = None) -> Figure:
        """Scores over the generations: population, mean on selection seeds, baselines where reported."""
        return runs.meta_learning(self, task or self.config.tasks[0].name)

    def plot_objective(self, generation: Generation = None, part: str | None = None) -> Figure:
        """What was found, next to known ones: a drift as in LPO's picture, a mirror map, an optimizer, or
        targets.

        Args:
            generation: which mean.
            part: the searched entry that is drawn ("drift", "potential", "optimizer", "lpg"); by default the
                first.

        Raises:
            BadInput: there is no such part, or it has no picture.
        """
        return draw_found(self.learned(generation), part)

    def plot_learning_curves(self, task: str | None = None) -> Figure:
        """Learning curves of all subjects reported on a task."""
        return runs.learning_curves(self, task or self.config.tasks[0].name)

    def plot_comparison(self) -> Figure:
        """Intervals of all reported subjects, a panel for each task."""
        return runs.comparison_picture(self)

    def report(self, out: str | Path | None = None, control: loaded.RunData | None = None) -> Path:
        """Write the report: one page of HTML, and its numbers as JSON next to it; returns the page's path.

        Args:
            out: file of the page; by default report.html in the run's folder.
            control: another run of the same tasks, to show beside it at the same budget.
        """
        return write_report(self, out, control)
