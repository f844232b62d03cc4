"""What someone sees who opens the links that `make ui` prints, after a smoke sweep."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pipeline.tracking.mlflow_view import runs_link
from tests.browser.conftest import Opener, free_port, serving

pytestmark = pytest.mark.slow


@dataclass
class Ui:
    """A running MLflow UI: the links it printed, and its store's runs, best objective first."""

    address: str
    links: list[str]
    runs: list[Any]

    def of(self, study: str) -> list[Any]:
        return [run for run in self.runs if run.data.tags.get("study") == study]

    def trials(self, study: str) -> list[Any]:
        return [
            run
            for run in self.of(study)
            if "trial" in run.data.tags and "objective" in run.data.metrics
        ]


@pytest.fixture(scope="module")
def ui(root: Path) -> Iterator[Ui]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("sweeps")
    runs = list(client.search_runs([experiment.experiment_id], order_by=["metrics.objective DESC"]))
    address = f"http://127.0.0.1:{free_port()}"
    with serving(
        f"{address}/health", "pipeline.ui", f"root={root}", f"port={address.rpartition(':')[2]}"
    ) as server:
        assert server.stdout is not None
        links = ["http" + server.stdout.readline().strip().partition("http")[2] for _ in range(2)]
        # Its log is read to the end: a full pipe would stop the server.
        threading.Thread(target=server.stdout.read, daemon=True).start()
        yield Ui(address, links, runs)


def shown(page: Any, *texts: str) -> None:
    """Waits until all of `texts` stand in the page's text: a list and its heads, its count and
    its figures are drawn one after the other.
    """
    words = "document.body.innerText.replace(/\\s+/g, ' ')"
    page.wait_for_function(f"texts => texts.every(text => {words}.includes(text))", arg=[*texts])


def positions(page: Any, names: list[str]) -> list[int]:
    text = page.inner_text("body")
    return [text.index(name) for name in names]


def test_the_printed_link_lists_parents_and_children_best_first(
    ui: Ui, open_page: Opener, screenshots: Path
) -> None:
    seen = open_page(ui.links[0])
    names = [run.info.run_name for run in ui.trials("drawn")]
    seen.page.get_by_role("link", name=names[0], exact=True).wait_for()
    for name in [*names, "drawn", "smoke", *(run.info.run_name for run in ui.trials("smoke"))]:
        seen.page.get_by_text(name, exact=True).first.wait_for()
    assert positions(seen.page, names) == sorted(positions(seen.page, names))
    for head in ("objective", "state", "optimizer", "model_init", "model_filters"):
        seen.page.get_by_role("columnheader", name=head, exact=True).first.wait_for()
    objectives = [f"{run.data.metrics['objective']:.6f}"[:7] for run in ui.trials("drawn")]
    shown(seen.page, "shared view", *objectives)
    assert seen.page.get_by_text("Sort: objective").count() == 1
    seen.page.screenshot(path=screenshots / "mlflow_runs.png")
    assert seen.elsewhere == []


def test_a_study_is_filtered_by_its_tag_and_searches_of_the_readme_work(
    ui: Ui, open_page: Opener
) -> None:
    experiment = ui.runs[0].info.experiment_id
    seen = open_page(runs_link(experiment, study="smoke", address=ui.address))
    trials = ui.trials("smoke")
    seen.page.get_by_role("link", name=trials[0].info.run_name, exact=True).wait_for()
    shown(seen.page, f"{len(ui.of('smoke'))} matching runs")
    best = trials[0].data.params["optimizer"]
    search = quote(f"metrics.objective > 0.01 and params.optimizer = '{best}'")
    found = [
        run
        for run in ui.runs
        if run.data.params.get("optimizer") == best and run.data.metrics.get("objective", 0) > 0.01
    ]
    seen = open_page(f"{runs_link(experiment, address=ui.address)}&searchFilter={search}")
    seen.page.get_by_role("link", name=trials[0].info.run_name, exact=True).wait_for()
    shown(seen.page, f"{len(found)} matching run")


def test_the_second_link_shows_validation_first(
    ui: Ui, open_page: Opener, screenshots: Path
) -> None:
    seen = open_page(ui.links[1], height=2400)
    seen.page.get_by_text("valid_accuracy").first.wait_for()
    seen.page.wait_for_function(
        "() => document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length >= 2"
    )
    heads = ["valid_accuracy", "valid_loss", "Parallel Coordinates", "train_accuracy", "grad_norm"]
    shown(seen.page, *heads)
    order = positions(seen.page, heads)
    assert order == sorted(order)
    assert "grad_norm/conv1" not in seen.page.inner_text("body"), "the norms' section is closed"
    seen.page.screenshot(path=screenshots / "mlflow_curves.png")


def test_the_link_that_a_sweep_prints_opens_its_study_s_view(
    ui: Ui, open_page: Opener, screenshots: Path
) -> None:
    experiment = ui.runs[0].info.experiment_id
    seen = open_page(runs_link(experiment, study="drawn", address=ui.address, shared=True))
    best = ui.trials("drawn")[0]
    seen.page.get_by_role("link", name=best.info.run_name, exact=True).wait_for()
    objective = f"{best.data.metrics['objective']:.6f}"[:7]
    shown(seen.page, f"{len(ui.of('drawn'))} matching runs", objective)
    seen.page.screenshot(path=screenshots / "mlflow_study.png")


def test_two_studies_are_compared_on_one_page(ui: Ui, open_page: Opener, screenshots: Path) -> None:
    chosen = [*ui.trials("drawn")[:2], *ui.trials("smoke")[:2]]
    experiment = chosen[0].info.experiment_id
    ids = quote(json.dumps([run.info.run_id for run in chosen]))
    seen = open_page(
        f"{ui.address}/#/compare-runs?runs={ids}&experiments={quote(json.dumps([experiment]))}",
        height=1400,
    )
    seen.page.get_by_text("Comparing 4 Runs").first.wait_for()
    names = [run.info.run_name for run in chosen]
    shown(seen.page, "optimizer_lr", "model_filters", "objective", "valid_accuracy", *names)
    seen.page.screenshot(path=screenshots / "mlflow_compare.png")


def test_a_trial_and_its_study_show_their_pictures(
    ui: Ui, open_page: Opener, screenshots: Path
) -> None:
    parent = next(run for run in ui.of("drawn") if "best_trial" in run.data.tags)
    best = ui.trials("drawn")[0]
    for run, file in (
        (best, "confusion_matrix.svg"),
        (best, "misclassified.png"),
        (best, "first_layer.png"),
        (best, "learning_curves.svg"),
    ):
        seen = open_page(artifact(ui, run, file))
        picture = seen.page.locator("img[src^='blob:'], img[src*='artifact'], [class*=image] img")
        picture.first.wait_for()
        width = picture.first.evaluate(
            "element => element.decode().then(() => element.naturalWidth)"
        )
        assert width > 100, file
        seen.page.screenshot(path=screenshots / f"mlflow_{Path(file).stem}.png")
        seen.page.close()
    seen = open_page(artifact(ui, parent, "overview.html"), height=1600)
    frame = sandboxed(seen.page)
    assert frame.locator("figure.chart svg").count() >= 5
    assert "epochs" in str(frame.locator("circle > title").first.text_content())
    seen.page.screenshot(path=screenshots / "mlflow_overview.png")


def sandboxed(page: Any) -> Any:
    """The frame in which MLflow shows a page, once it has its charts; a locator that waits inside
    such a frame from the beginning waits for a document that is replaced.
    """
    for _ in range(600):
        page.wait_for_timeout(500)
        for frame in page.frames:
            if frame.url.startswith("blob:") and frame.locator("figure.chart svg").count():
                return frame
    raise AssertionError(f"no page was shown, but {[frame.url for frame in page.frames]}")


def artifact(ui: Ui, run: Any, file: str) -> str:
    info = run.info
    return f"{ui.address}/#/experiments/{info.experiment_id}/runs/{info.run_id}/artifacts/{file}"
