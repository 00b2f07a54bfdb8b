"""Which matrix and which comparison: scores against full matrices, closed forms, the claims, the drawing."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr

from superpose import theory
from superpose.paper import rdms
from superpose.paper.claims import judge
from superpose.paper.simulation import drawn_latents, stream
from superpose.paper.summary import over_draws
from superpose.systems import projection

SETTINGS = {"latents": 32, "samples": 60, "active": 4, "entries": "gaussian", "units": 8, "draw": 0}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return rdms.FIGURE.at("smoke", draws=8).run(tmp_path_factory.mktemp("rdms"))


@pytest.fixture(scope="module")
def figure(table):
    return rdms.draw(table)


def system(seed, distribution="signed"):
    z = drawn_latents(seed, 60, 32, 4, distribution)
    return z, *(projection(8, 32, generator=stream(seed, s, "gaussian", 8)).numpy() for s in ("a", "b"))


def measured(seed, distribution="signed"):
    return {row["metric"]: row for row in rdms.measure(seed, distribution=distribution, **SETTINGS)}


def matrix(kind, responses):
    """Return the entries i < j of a sample-by-sample matrix, from the whole of it."""
    x = responses.astype(np.float64)
    x = x - x.mean(0) if kind == "dot" else x
    return (x @ x.T)[np.triu_indices(len(x), 1)] if kind == "dot" else pdist(x, KINDS[kind])


KINDS = {"euclidean": "sqeuclidean", "correlation": "correlation"}
COMPARE = {
    "pearson": lambda p, q: pearsonr(p, q)[0],
    "cosine": lambda p, q: p @ q / np.sqrt((p @ p) * (q @ q)),
    "spearman": lambda p, q: spearmanr(p, q)[0],
}


class TestMeasure:
    def test_scores_are_those_of_the_whole_matrices(self):
        z, a, b = system(4)
        expected = {
            f"{kind} {name}": compare(matrix(kind, z @ a.T), matrix(kind, z @ b.T))
            for kind in ("dot", "euclidean", "correlation")
            for name, compare in COMPARE.items()
        }
        found = {name: row["score"] for name, row in measured(4).items()}
        assert found == pytest.approx(expected, abs=1e-5)

    def test_closed_forms_are_of_the_variants_that_have_one(self):
        _, a, b = system(4)
        found = measured(4)
        theorem = float(theory.rsa(a, b))
        euclidean = float(theory.rsa_euclidean(a, b, *theory.latent_fourth_moments(32, 4)))
        laws = {name: row["theory"] for name, row in found.items() if row["theory"] is not None}
        assert laws == pytest.approx({"dot pearson": theorem, "dot cosine": theorem, "euclidean pearson": euclidean})
        assert [row["expected"] for row in found.values()] == pytest.approx([theorem] * 9)

    def test_uniform_latents_have_no_closed_form_for_distances(self):
        _, a, b = system(4)
        found = measured(4, "uniform")
        assert found["euclidean pearson"]["theory"] is None
        s = theory.latent_covariance(32, 4, "uniform")
        assert found["dot pearson"]["theory"] == pytest.approx(float(theory.rsa(a, b, s)))


class TestCeiling:
    @pytest.mark.parametrize(("latents", "active"), [(64, 2), (64, 4), (20, 3)])
    def test_it_is_the_rank_correlation_of_latents_whose_ties_are_broken_twice(self, latents, active):
        generator = np.random.default_rng(0)
        found = []
        for seed in range(20):
            z = drawn_latents(seed, 150, latents, active, "signed").astype(np.float64)
            inner = (z @ z.T)[np.triu_indices(150, 1)]
            p, q = (inner + 1e-9 * generator.normal(size=inner.size) for _ in range(2))
            found.append(spearmanr(p, q)[0])
        assert np.mean(found) == pytest.approx(
            rdms.spearman_ceiling(latents, active), abs=4 * np.std(found) / np.sqrt(20)
        )

    def test_it_is_1_where_every_pair_shares_a_latent(self):
        assert rdms.spearman_ceiling(64, 33) == rdms.spearman_ceiling(64, 64) == 1

    def test_responses_have_no_ties_themselves(self):
        """What keeps ranks low is chance among pairs that share nothing, not equal entries."""
        z, a, _ = (part.astype(np.float64) for part in system(0))
        i, j = np.triu_indices(60, 1)
        assert ((z @ z.T)[i, j] == 0).mean() > 0.5
        y = z @ a.T
        assert len(np.unique((y @ y.T)[i, j])) == len(i)


class TestStudy:
    def test_table(self, table):
        assert table["metric"].nunique() == 9
        assert table.drop(columns="theory").notna().all(axis=None)
        known = table[table["theory"].notna()]
        assert set(known["metric"]) == {"dot pearson", "dot cosine", "euclidean pearson"}
        assert len(known) == len(table) / 3


class TestClaims:
    def test_all_hold_but_the_footnote(self, table):
        judged = judge(rdms.CLAIMS, table)
        assert len(judged) == 11
        failed = judged[judged["verdict"] == "does not hold"]
        assert failed["source"].to_list() == ["Section 2.2, footnote 1"]
        assert failed["claim"].item().startswith("The scaling holds qualitatively for Spearman: in superposition")

    def test_ranks_like_theorem_3_1_would_save_the_footnote_and_end_the_ceiling(self, table):
        ranks = table["metric"] == "dot spearman"
        table = table.assign(score=table["expected"].where(ranks, table["score"]))
        verdicts = judge(rdms.CLAIMS, table).set_index("claim")["verdict"]
        assert verdicts.filter(like="in superposition").item() == "holds"
        assert verdicts.filter(like="Spearman ends at").item() == "does not hold"

    def test_all_can_fail(self, table):
        """Scores that fall with units, from theorem 3.1 for distances, and from far off it for the others."""
        fall = table["expected"] + 0.5 - 0.004 * table["units"]
        near = table["metric"].isin(["euclidean pearson", "euclidean cosine", "correlation cosine"])
        doctored = table.assign(score=table["expected"].where(near, fall - 0.7), theory=table["theory"] + 0.2)
        assert set(judge(rdms.CLAIMS, doctored)["verdict"]) == {"does not hold"}


class TestDraw:
    def test_every_panel_is_labelled_and_shows_every_sparsity(self, figure):
        axes = figure.axes
        assert [place.get_title() for place in axes[:3]] == ["Pearson", "cosine", "Spearman"]
        assert [place.get_ylabel() for place in axes[::3]] == [
            "RSA (inner product)",
            "RSA (sq. distance)",
            "RSA (1 − correlation)",
        ]
        assert [place.get_xlabel() for place in axes[6:]] == ["units $m$"] * 3
        assert [len(place.containers) for place in axes] == [2] * 9

    def test_dots_are_the_means_of_the_panels_variant(self, figure, table):
        points = over_draws(table, rdms.BY)
        mean = points[(points["metric"] == "euclidean spearman") & (points["active"] == 2)]
        dots = figure.axes[5].containers[0].lines[0]
        assert np.allclose(dots.get_ydata(), mean.sort_values("units")["score"])

    def test_ceilings_are_drawn_where_ranks_have_them(self, figure):
        ceiling = rdms.spearman_ceiling(64, 2)
        level = [
            any(np.allclose(line.get_ydata(), ceiling) and line.get_linestyle() == ":" for line in place.lines)
            for place in figure.axes
        ]
        assert level == [False, False, True, False, False, False, False, False, True]

    def test_legend_is_complete_within_a_column(self, figure):
        assert figure.get_figwidth() == 3.5
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert labels == ["$k = 2$", "$k = 16$", "own closed form", "Theorem 3.1", "ceiling of ranks"]
