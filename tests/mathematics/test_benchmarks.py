"""What the benchmarks have written, and what they are made of: short enough for every test run."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_mixture import LINE

import bench
import emoji_judge
import recipe
import report
import rows
import sampler_cost
import solvers
import unet_and_dit
import words
from course_utils.data import ARTISTS, scale
from course_utils.mixture import exact_denoiser
from course_utils.predictions import NOISE, V
from course_utils.sampling import ddim_step, sample
from course_utils.schedule import cosine_schedule, straight_path
from course_utils.text import TextEncoder
from course_utils.unet import UNet

FOLDER = Path(__file__).resolve().parent.parent.parent / "benchmarks"


def read(name):
    return json.loads((FOLDER / name).read_text())


def test_what_is_trained_to_predict_v_is_read_as_v(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(recipe, "draw", lambda *options: read.append(options[-1]) or torch.zeros(4, 1, 28, 28))
    monkeypatch.setattr(recipe, "share_sure", len)
    monkeypatch.setattr(recipe, "quality", lambda images: SimpleNamespace(_asdict=dict))
    monkeypatch.setattr(recipe, "steps_in", lambda *_, **options: 1)
    names = {"prototype, predicting noise": NOISE, "prototype, predicting v": V}
    for name in names:
        recipe.measure(tmp_path, name)
    assert read == list(names.values())
    assert recipe.RUNS["prototype, predicting v"][2].keywords["loss"].keywords == {"predicts": V}


def test_prototypes_are_the_unet_without_its_shortcut():
    torch.manual_seed(0)
    plain = recipe.Plain()
    x, t = torch.randn(2, 1, 28, 28), torch.tensor([3, 900])
    assert (plain(x, t) == 0).all()
    assert not any(weight.requires_grad for weight in plain.network.shortcut.parameters())


@pytest.mark.parametrize("sampler", ["DDPM", "DDIM"])
def test_diffusers_visits_the_same_levels_in_the_comparison_of_costs(sampler):
    calls = []

    def network(x, t, labels):
        calls.append(t[0].item())
        return torch.zeros_like(x)

    sampler_cost.of_diffusers(sampler)(network, cosine_schedule(), 5)
    assert calls == [1000, 800, 600, 400, 200]


def test_every_budget_of_the_solvers_is_kept():
    for solver, levels, calls in solvers.KINDS:
        visited = solvers.LEVELS[levels](solvers.SOLVERS[solver][1](calls))
        price = 2 * len(visited) - 3 if solver == "Heun" else len(visited) - 1
        assert calls - 1 <= price <= calls
    assert len({tuple(row.values()) for row in solvers.ROWS}) == len(solvers.ROWS)


def test_ddim_at_the_straight_paths_log_snrs_is_euler_on_the_straight_path():
    x_T, ends = torch.randn(100, 1, generator=torch.Generator().manual_seed(0)).double(), []
    for path, levels in ((solvers.PATH, solvers.straight(10)), (straight_path(), [*range(1000, -1, -100)])):
        ends.append(sample(exact_denoiser(LINE, path), x_T.shape, path, ddim_step, levels=levels, x_T=x_T))
    assert (ends[0] - ends[1]).abs().max() < 2e-3  # the levels are rounded


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_unet_and_dit_do_as_much_arithmetic_for_a_picture(shape):
    amounts = [unet_and_dit.arithmetic(make(in_channels=shape[0]), shape) for make in unet_and_dit.NETWORKS.values()]
    assert max(amounts) < 1.1 * min(amounts)


def test_arithmetic_of_a_dit_is_that_of_its_matrices():
    tokens, width, depth, pixels = 49, 112, 6, 16
    linear = tokens * (depth * 12 * width**2 + 2 * pixels * width)  # queries, keys, values, out, the MLP; in and out
    told = 2 * width**2 + (6 * depth + 2) * width**2
    attention = depth * 2 * tokens**2 * width
    once = linear + told + attention  # backwards twice as much, for inputs and weights, but not for the first inputs
    first = tokens * pixels * width + width**2
    found = unet_and_dit.arithmetic(unet_and_dit.NETWORKS["DiT, patches of 4"](), (1, 28, 28))
    assert found == 2 * (3 * once - first)


def test_equal_arithmetic_is_equal_up_to_half_a_step():
    images, in_all = torch.zeros(1, 1, 28, 28), []
    for make in unet_and_dit.NETWORKS.values():
        steps, of_one = unet_and_dit.steps_for_arithmetic(make(), images), unet_and_dit.arithmetic(make(), (1, 28, 28))
        in_all.append((steps * of_one, of_one))
    target = in_all[0][0]
    assert all(abs(amount - target) <= of_one / 2 for amount, of_one in in_all)


@pytest.mark.parametrize("network", unet_and_dit.NETWORKS)
def test_row_of_unet_and_dit_is_trained_kept_and_scored(network, tmp_path, monkeypatch):
    for name, value in dict(UNET_STEPS=2, BATCH=2, UNSEEN=10, SHAPE=(3, 1, 28, 28), FOLDER=tmp_path).items():
        monkeypatch.setattr(unet_and_dit, name, value)
    monkeypatch.setattr(unet_and_dit, "LABELS", torch.arange(3))
    monkeypatch.setattr(unet_and_dit, "ruler", lambda: ())
    monkeypatch.setattr(unet_and_dit, "score", lambda images: dict(fcd=len(images)))
    row = unet_and_dit.measure(network, "clothes", "arithmetic", 1e-3, 0)
    assert row["steps"] == 2
    assert row["fcd"] == 3
    assert 0.5 < row["loss"] < 2  # it has learnt next to nothing
    assert len(list(tmp_path.iterdir())) == 1


def test_best_rate_is_that_of_the_lowest_loss_in_the_search():
    losses = {2e-3: 0.3, 1e-3: 0.1, 5e-4: 0.2}
    rows = [row | dict(loss=losses[row["lr"]]) for row in unet_and_dit.SEARCH]
    rows += [dict.fromkeys(rows[0], 0) | dict(network="real"), rows[0] | dict(seed=1, loss=0)]
    assert unet_and_dit.best_rates(rows) == dict.fromkeys(unet_and_dit.NETWORKS, 1e-3)


def test_rows_are_kept_as_they_come_and_made_only_once(tmp_path, monkeypatch):
    made = []

    def pictures(scale, seed):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append((scale, seed))
        return torch.full((1,), float(scale))

    monkeypatch.setattr(rows, "features_of_test_set", lambda: torch.zeros(10_000, 64))
    monkeypatch.setattr(rows, "real_pictures", lambda seed: torch.full((1,), -1.0))
    monkeypatch.setattr(rows, "score", lambda images, everything, some: dict(fcd=images.item(), of=len(some)))
    wanted = [dict(scale=scale, seed=seed) for scale in (0, 4) for seed in rows.SEEDS]
    with pytest.raises(KeyboardInterrupt):
        rows.fill(tmp_path / "some.py", wanted, pictures)
    assert len(json.loads((tmp_path / "some.json").read_text())["rows"]) == 6
    made.insert(0, None)  # from here on without the interruption
    rows.fill(tmp_path / "some.py", wanted, pictures)
    found = json.loads((tmp_path / "some.json").read_text())["rows"]
    assert [(row["scale"], row["seed"], row["fcd"]) for row in found] == [
        *[("real", seed, -1) for seed in rows.SEEDS],
        *[(scale, seed, scale) for scale in (0, 4) for seed in rows.SEEDS],
    ]
    assert {row["of"] for row in found} == {len(rows.LABELS)}
    assert len(made) == 1 + len(wanted)


def test_a_floor_has_as_many_of_each_kind_as_the_rows():
    labels = torch.arange(10).repeat(300)
    for generator in (None, torch.Generator().manual_seed(0)):
        chosen = rows.some_of_each(labels, generator)
        assert len(chosen.unique()) == 2000
        assert labels[chosen].bincount().tolist() == [200] * 10


# Pictures from words, in a small world: 20 things, each a pattern, that 4 artists draw with some noise of their own

THINGS = [f"thing {number:02}" for number in range(20)]


def drawings(seed=0, artists=4):
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randint(40, 216, (20, 3, 32, 32), generator=torch.Generator().manual_seed(100))
    noise = torch.randint(-20, 21, (20, artists, 3, 32, 32), generator=generator)
    images = (patterns[:, None] + noise).flatten(0, 1).to(torch.uint8)
    return words.Drawings(images, [name for name in THINGS for _ in range(artists)], torch.arange(artists).repeat(20))


class Judge:
    """Sees 64 of the pixels, and takes for the thing and the artist those of the nearest drawing."""

    def __init__(self, train):
        self.known, self.artists = self.features(train.images / 127.5 - 1), train.artists

    def features(self, x):
        return x.flatten(1)[:, ::48]

    def __call__(self, x):
        near = -torch.cdist(self.features(x), self.known)
        by_artist = torch.stack([near[:, self.artists == artist].amax(dim=1) for artist in range(4)], dim=1)
        return near.unflatten(1, (20, 4)).amax(dim=2), by_artist


@pytest.fixture
def court():
    train = drawings()
    return words.Court(Judge(train), THINGS, train, train)


def test_what_is_copied_is_right_and_near_and_what_is_new_is_right_and_not_near(court):
    copied, new = (court.verdict(drawings(seed)) for seed in (0, 1))
    assert (copied["top_1"], copied["top_5"], copied["artist"], copied["number"]) == (1, 1, 1, 80)
    assert copied["fcd"] < 1e-4 < new["fcd"]
    assert new["top_1"] == 1
    for space in ("pixels", "features"):
        assert copied[f"near, {space}"] == copied[f"very near, {space}"] == 1
        # The nearest of four new drawings of a thing is nearer than most pairs, but not than nearly all.
        assert new[f"very near, {space}"] < 0.4 < new[f"near, {space}"]


def test_what_was_not_asked_for_is_wrong(court):
    asked, artists = drawings(), torch.arange(4).repeat(20)
    turned = words.Drawings(asked.images.roll(4, 0), asked.names, artists)  # everybody draws the thing before
    assert court.verdict(turned)["top_1"] == 0
    assert court.verdict(turned)["artist"] == 1
    others = words.Drawings(asked.images, asked.names, artists.roll(1))
    assert (court.verdict(others)["top_1"], court.verdict(others)["artist"]) == (1, 0)
    noise = torch.randint(256, asked.images.shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    found = court.verdict(asked._replace(images=noise))
    assert found["top_1"] < found["top_5"] < 0.5
    assert found["near, pixels"] == found["near, features"] == 0


def test_too_few_pictures_have_no_frechet_distance(court):
    assert court.verdict(drawings().some(range(60)))["fcd"] is None


def test_pictures_from_words_are_made_once_and_anew_for_other_weights(court, tmp_path, monkeypatch):
    made = []

    def pictures(network, drawings, **row):
        made.append(row)
        if len(made) == 4:
            raise KeyboardInterrupt
        return drawings.images

    monkeypatch.setattr(words, "pictures", pictures)
    groups, file = dict.fromkeys(words.GROUPS, drawings()), tmp_path / "words.json"
    with pytest.raises(KeyboardInterrupt):
        words.fill(file, {"weights": "a"}, None, court, groups)
    found = words.fill(file, {"weights": "a"}, None, court, groups)["rows"]
    assert json.loads(file.read_text())["rows"] == found
    assert len(made) == len(words.ROWS) + 1
    assert [{name: row[name] for name in words.ROWS[0]} for row in found] == [*words.REAL, *words.ROWS]
    real, drawn = found[1], found[3]  # who draws the real drawings scores what they do
    assert {name: drawn[name] for name in drawn if name not in words.ROWS[0]}.items() <= real.items()
    assert found[2]["number"] == 40  # of the held-out names, those by artists that the judge has not learnt from
    words.fill(file, {"weights": "b"}, None, court, groups)
    assert len(made) == 2 * len(words.ROWS) + 1


def test_pictures_are_of_the_words_and_by_the_artist(monkeypatch):
    told = TextEncoder(THINGS, ARTISTS, 32, tokens=True)
    network = UNet(3, 8, (1, 2), condition=told)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    monkeypatch.setattr(words, "STEPS", 3)
    asked = drawings().some([0, 1, 4])
    images = words.pictures(network, asked, words_scale=2, artist_scale=2, seed=0, group="held-out pairs")
    assert (images.shape, images.dtype) == ((3, 3, 32, 32), torch.uint8)
    for i, change in enumerate([dict(names=[*THINGS[5:6], *asked.names[1:]]), dict(artists=torch.tensor([0, 3, 0]))]):
        others = words.pictures(network, asked._replace(**change), words_scale=2, artist_scale=2, seed=0)
        assert [not torch.equal(a, b) for a, b in zip(images, others, strict=True)] == [i == j for j in range(3)]


def test_the_judge_has_not_seen_the_held_out_drawings_that_count_as_real(monkeypatch):
    sets = {split: drawings(seed, artists=6) for seed, split in enumerate(("train", "pairs", "names"))}
    monkeypatch.setattr(emoji_judge, "emoji", sets.get)
    images, names, artists = emoji_judge.drawings_to_learn()
    assert len(images) == len(names) == len(artists) == 120 + 60
    for new in (sets["pairs"].images, words.new_to_the_judge(sets["names"]).images):
        assert not (images[:, None, 0, 0] == new[None, :, 0, 0]).all(dim=2).any()
    assert emoji_judge.all_things() == THINGS


@pytest.mark.slow
def test_the_judge_learns_things_and_artists(tmp_path):
    torch.manual_seed(0)
    images = torch.full((6, 3, 32, 32), 255, dtype=torch.uint8)
    images[:3, 0, 8:24, 8:24] = 0  # cyan squares by artist 0 ...
    images[3:, 1, 8:24, 8:24] = 0  # ... and magenta ones,
    images[[1, 2, 4, 5], :, 13:19, 13:19] = 0  # with a black middle by artist 1
    names, artists = ["cyan"] * 3 + ["magenta"] * 3, torch.tensor([0, 1, 1] * 2)
    judge = emoji_judge.trained_judge(images, names, artists, ["cyan", "magenta"], epochs=60)
    emoji_judge.save_file(judge.state_dict(), tmp_path / "judge.safetensors")
    things, hands = emoji_judge.load_judge(tmp_path / "judge.safetensors")(scale(images))
    assert things.argmax(dim=1).tolist() == [0, 0, 0, 1, 1, 1]
    assert hands.argmax(dim=1).tolist() == artists.tolist()


def results():
    return read("results.json")


def test_all_rows_of_the_benchmark_are_there_from_one_machine():
    assert {part: list(rows) for part, rows in results()["parts"].items()} == {
        part: list(module.ROWS) for part, module in bench.PARTS.items()
    }


def test_quality_stands_beside_its_floor():
    for row in [*results()["parts"]["recipe"].values(), *results()["parts"]["sampling_quality"].values()]:
        assert row["floor"] > 0
        assert row["fcd"] > 0


def test_report_is_that_of_the_results(tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "results.json").write_text((FOLDER / "results.json").read_text())
    monkeypatch.setattr(report, "HERE", tmp_path)
    report.write()
    assert (tmp_path / "RESULTS.md").read_text() == (FOLDER / "RESULTS.md").read_text()
    for name in re.findall(r"\((pictures/[^)]+)\)", (FOLDER / "RESULTS.md").read_text()):
        assert (FOLDER / name).is_file()


def changed(rows, name, **figures):
    return rows | {name: rows[name] | figures}


def test_report_says_where_the_course_loses():
    rows = results()["parts"]["recipe"]
    theirs = "denoising-diffusion-pytorch Unet, own configuration"
    better = changed(rows, theirs, fcd=rows[theirs]["floor"] + 0.123, recall=0.99)
    lost = [line for line in report.lost_to_networks(better) if line.startswith(theirs)]
    assert f"{theirs} reaches FCD - floor 0.12" in lost[0]
    assert any("better recall: 0.99" in line for line in lost)


@pytest.mark.parametrize("kind", ["DDPM", "DDIM"])
@pytest.mark.parametrize(("theirs", "loses"), [(1.01, True), (1.03, False)])
def test_report_says_which_loop_costs_more(kind, theirs, loses):
    time = {f"course, {k}": {"ratio": 1.02} for k in ("DDPM", "DDIM")}
    time |= {f"diffusers, {k}Scheduler": {"ratio": theirs if k == kind else 2.0} for k in ("DDPM", "DDIM")}
    lost = list(report.lost_to_loops({"time": time | {"peak_mb": 1.0}}))
    assert bool(lost) == loses
    assert all(kind in line and "2.0 %" in line and "1.0 %" in line for line in lost)


# The run, with rows that take no time


@pytest.fixture
def two_parts(tmp_path, monkeypatch):
    measured = []

    def in_a_child(part, name):
        measured.append((part, name))
        if len(measured) == 2:
            raise KeyboardInterrupt
        return {"figure": len(measured)}

    monkeypatch.setattr(bench, "PARTS", {"a": SimpleNamespace(ROWS=["x", "y"]), "b": SimpleNamespace(ROWS=["x"])})
    monkeypatch.setattr(bench, "FOLDER", tmp_path / "running")
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "in_a_child", in_a_child)
    monkeypatch.setattr(bench.report, "write", lambda: None)
    monkeypatch.setattr(sys, "argv", ["bench.py"])
    return measured


def test_interrupted_run_goes_on_where_it_stopped_and_ends_in_order(two_parts, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        bench.main()
    assert not (tmp_path / "results.json").exists()
    bench.main()
    assert two_parts == [("a", "x"), ("a", "y"), ("a", "y"), ("b", "x")]
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["parts"] == {"a": {"x": {"figure": 1}, "y": {"figure": 3}}, "b": {"x": {"figure": 4}}}
    assert list((tmp_path / "running").iterdir()) == []  # so the next run starts afresh


def test_run_that_is_complete_ends_in_the_report(tmp_path, monkeypatch):
    (tmp_path / "running").mkdir()
    (tmp_path / "running" / "results.json").write_text(json.dumps(results() | {"machine": bench.machine()}))
    for place, name in ((bench, "HERE"), (report, "HERE")):
        monkeypatch.setattr(place, name, tmp_path)
    monkeypatch.setattr(bench, "FOLDER", tmp_path / "running")
    monkeypatch.setattr(sys, "argv", ["bench.py"])
    bench.main()
    made, committed = ((folder / "RESULTS.md").read_text() for folder in (tmp_path, FOLDER))
    assert made == committed.replace(results()["machine"], bench.machine())


def test_run_of_another_machine_is_not_gone_on_with(two_parts, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        bench.main()
    monkeypatch.setattr(bench, "machine", lambda: "another machine")
    with pytest.raises(SystemExit, match="Delete it to start afresh"):
        bench.main()


def test_row_is_measured_in_a_process_of_its_own():
    row = bench.in_a_child("memory", "nothing but the imports")
    assert 50 < row["peak_mb"] < 5000
