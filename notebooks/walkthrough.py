import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="A walk through a discovery run")


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    # A walk through a discovery run

    A *search* looks for a policy-optimization loss: it proposes drift functions, trains agents with
    each, and moves towards those that trained best. Everything that happened is in the run's folder.
    This notebook opens one: what was tried, how it went, what came out, how good that is on seeds that
    the search never saw, and the file to take away.

    Set `DISCOVERY_RUN` to a run's folder (`runs/<name>`) to look at your own. Without it, the next
    cells make a tiny search, which takes about a minute and is too small to find anything worth having.
    """)
    return


@app.cell
def _():
    import os
    import tempfile
    from pathlib import Path

    import marimo as mo
    import numpy as np

    import discovery as d

    return Path, d, mo, np, os, tempfile


@app.cell
def _(d, os, tempfile):
    def tiny_search():
        """Three generations of eight proposals, on a task of a few thousand steps."""
        setup = d.Setup("Catch-bsuite", n_envs=4, n_steps=32, n_epochs=4, hidden=(16, 16))
        task = d.Task("Catch", setup, 8_192, {"learning_rate": 5e-3}, score="auc")
        config = d.SearchConfig(
            generations=3,
            algorithm_options={"width": 16},
            meta=d.ESConfig(population=8, sigma=0.3),
            tasks=(task,),
            seeds=2,
            selection_seeds=8,
            executor="inline",
        )
        return d.discover(config, output=tempfile.mkdtemp(), name="tiny")

    folder = os.environ.get("DISCOVERY_RUN", "")
    searched = d.load_run(folder) if folder else tiny_search()
    searched
    return (searched,)


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## What was tried

    One row per proposal. `fitness` is its mean score over tasks and seeds; the rows with index -1 are
    the mean of the search itself, trained on *selection* seeds that no proposal ever gets.
    """)
    return


@app.cell
def _(searched):
    proposals = searched.proposals_frame()
    proposals.drop(columns=["kind", "asked_digest", "params_digest"]).tail(10)
    return


@app.cell
def _(searched):
    searched.generations_frame()
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## How it went

    Generation *g* shows the proposals drawn around mean *g*, and mean *g* on the selection seeds. The
    run's answer is the generation that did best there.
    """)
    return


@app.cell
def _(searched):
    searched.plot_meta_learning()
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## What came out

    The loss is $-(r A - f(r, A))$ with $r = \pi / \pi_{old}$. Above: the drift $f$. Below: the slope of
    $r A - f$, which says where a sample pushes its action's probability up (red), down (blue), or
    leaves it alone (white). PPO's white regions are its clipping.
    """)
    return


@app.cell
def _(searched):
    searched.plot_objective()
    return


@app.cell
def _(np, searched):
    # The same loss as a function; log probabilities and advantages may have any shape.
    objective = searched.objective()
    objective(np.log([0.5, 1.0, 2.0]), 0.0, advantage=1.0)
    return


@app.cell
def _(np, searched):
    # No proposal is stored as a vector: each comes from the search's state and its key again, bit for bit.
    weights = searched.proposal(generation=0, index=1).meta_params
    {name: np.shape(value) for name, value in weights["drift"].items()} if "drift" in weights else weights
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## How good it is

    It is trained beside PPO and beside the mean that the search began with: same tasks, same recipe, same
    report seeds. Every training is recorded in the run, and is not repeated when it is asked for again.
    Intervals are 95% confidence intervals; with fewer than 30 seeds they are unreliable.
    """)
    return


@app.cell
def _(d, searched):
    comparison = d.evaluate(searched, against=("initial", "ppo"), seeds=32)
    run = searched.reload()  # load the run again: it now holds the comparison, too
    comparison.frame()
    return comparison, run


@app.cell
def _(comparison):
    for sentence in comparison.verdicts():
        print(sentence)
    return


@app.cell
def _(run):
    run.plot_learning_curves()
    return


@app.cell
def _(run):
    run.plot_comparison()
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md("""
    ## Take it away

    The export is one file with the weights inside. It needs numpy and jax, and nothing of this project. Its
    header says where it comes from, what it scored, and the recipe it was tuned to. `verify_run` recomputes
    values and gradients at 10,000 points in a process that cannot import our packages.
    """)
    return


@app.cell
def _(d, run):
    exported = d.export_run(run, "jax", run.folder / "exports" / "discovered.py")
    print(d.verify_run(exported, run))
    return (exported,)


@app.cell
def _(Path, exported):
    print(Path(exported).read_text().partition("import jax")[0])
    return


if __name__ == "__main__":
    app.run()
