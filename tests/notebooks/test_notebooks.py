"""The notebooks' form: run once from top to bottom, nothing superfluous in the file, and code that is the package's.

What the cells compute is tested by nbval, which runs them.
"""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import stamp_minutes

from course_utils.classroom.exercises.checking import EXERCISES

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# The pieces that each notebook builds, and the module that holds the finished version.
PIECES = {
    "00_start_here": {},
    "01_forward_process": {
        "course_utils.data": {"scale"},
        "course_utils.schedule": {"at"},
        "course_utils.forward": {"forward_step", "add_noise"},
    },
    "02_noise_schedule": {
        "course_utils.schedule": {
            *("GaussianPath", "NoiseSchedule", "linear_schedule", "cosine_schedule", "straight_path"),
        }
    },
    "03_unet": {
        "course_utils.unet": {
            *("timestep_embedding", "zeroed", "ResBlock", "attention", "SelfAttention", "Downsample", "Upsample"),
            *("space_to_depth", "SpaceToDepth"),
            *("down", "middle", "up", "LabelEmbedding", "UNet", "shapes_through"),
        }
    },
    "04_training": {
        "course_utils.training": {
            *("diffusion_loss", "uniform_t", "with_condition", "training_step", "EMA", "learning_rate"),
        }
    },
    "05_ddpm_sampling": {
        "course_utils.forward": {"predict_x_0", "posterior"},
        "course_utils.sampling": {"randn_like", "ddpm_step", "spaced_levels", "sample_steps", "sample"},
    },
    "06_ddim_sampling": {
        "course_utils.forward": {"predict_noise"},
        "course_utils.sampling": {"randn_like", "ddim_step", "ddim_encode"},
    },
    "07_how_good": {
        "course_utils.evaluation": {
            *("covariance", "symmetric_root", "frechet_distance", "distances", "share_within", "precision_recall"),
        }
    },
    "08_guidance": {
        "course_utils.guidance": {"guided"},
        "course_utils.training": {"withhold"},
        "course_utils.sampling": {"clipped"},
    },
    "09_what_to_predict": {
        "course_utils.predictions": {"v", "x_0_from_v", "x_0_from_velocity", "score"},
        "course_utils.training": {"normal_log_snr"},
    },
    "10_fast_solvers": {
        "course_utils.solvers": {"heun_step", "dpm_solver_2m"},
        "course_utils.sampling": {"asked_at_most"},
    },
    "11_editing": {"course_utils.editing": {"sdedit", "put_back", "inpaint_step", "noise_further", "anagram"}},
}
LEFT_OUT = {"exercise", "mistake", "lab"}  # cells with these tags are wrong, or unfinished, on purpose
FOLDED = re.compile(
    r"<details><summary>The finished version</summary>\n\n```python\n(.*?)```\n\n</details>", flags=re.DOTALL
)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def definitions(source):
    """The functions and classes defined at the top of some code: {name: syntax tree in plain form}."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name: ast.dump(Plain().visit(node)) for node in ast.parse(source).body if isinstance(node, kinds)}


class Plain(ast.NodeTransformer):
    """Leaves out decorators, docstrings and annotations."""

    def visit_FunctionDef(self, node):
        node.decorator_list, node.returns = [], None
        return self.without_docstring(node)

    def visit_ClassDef(self, node):
        node.decorator_list = []
        return self.without_docstring(node)

    def without_docstring(self, node):
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        return self.generic_visit(node)

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        node.annotation = ast.Constant(None)
        return node


def in_notebook(notebook):
    """{name: syntax tree} of all definitions that are not wrong or unfinished on purpose: in cells, or folded."""
    cells = [cell.source for cell in code_cells(notebook) if not tags(cell) & LEFT_OUT]
    folded = [code for cell in notebook.cells if cell.cell_type == "markdown" for code in FOLDED.findall(cell.source)]
    return definitions("\n\n".join(cells + folded))


def in_package(module):
    return definitions(Path(importlib.import_module(module).__file__).read_text())


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_every_notebook_is_listed_with_its_pieces():
    assert [path.stem for path in NOTEBOOKS] == list(PIECES)


def test_pieces_are_the_packages(path):
    written = in_notebook(read(path))
    for module, names in PIECES[path.stem].items():
        finished = in_package(module)
        for name in sorted(names):
            assert written[name] == finished[name], f"{name} in {path.name} differs from {module}"


def test_no_piece_is_left_out_of_the_comparison(path):
    """A function that has the name of one in a package's module is either compared, or in a cell that is tagged."""
    listed = set().union(*PIECES[path.stem].values())
    modules = [f"course_utils.{file.stem}" for file in (ROOT / "course_utils").glob("[a-z]*.py")]
    public = set().union(*map(in_package, modules))
    assert set(in_notebook(read(path))) & public == listed


def test_comparison_sees_a_difference_and_overlooks_decoration():
    piece = "def f(x):\n    return x + 1"
    decorated = '@checked(x=batch)\ndef f(x: int) -> int:\n    """One more."""\n    return x + 1'
    assert definitions(piece) == definitions(decorated)
    assert definitions(piece) != definitions(piece.replace("+", "-"))


def test_cells_ran_once_and_in_order(path):
    counts = [cell.execution_count for cell in code_cells(read(path))]
    assert counts == list(range(1, len(counts) + 1))


def test_no_output_is_an_error_or_a_warning(path):
    for cell in code_cells(read(path)):
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", output.text


def test_nothing_is_skipped_or_allowed_to_fail(path):
    for cell in read(path).cells:
        assert not tags(cell) & {"nbval-skip", "nbval-raises-exception", "raises-exception", "skip-execution"}


def test_no_code_cell_is_longer_than_40_lines(path):
    for cell in code_cells(read(path)):
        assert len(cell.source.splitlines()) <= 40, cell.source


def test_first_code_cell_is_the_same_in_all_notebooks(path):
    assert code_cells(read(path))[0].source == code_cells(read(NOTEBOOKS[0]))[0].source


def figures(cell):
    return [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


def descriptions(cell):
    """The folded texts beside the figures of a cell."""
    pages = [output.get("data", {}).get("text/html", "") for output in cell.get("outputs", [])]
    return [page for page in pages if "<summary>This figure in words</summary>" in page]


def test_every_figure_is_described_in_words_and_followed_by_text(path):
    cells = read(path).cells
    for number, cell in enumerate(cells):
        assert len(descriptions(cell)) == len(figures(cell)), cell.source
        if figures(cell):
            assert cells[number + 1].cell_type == "markdown", cell.source


def test_no_two_figures_are_described_in_the_same_words():
    texts = [text for path in NOTEBOOKS for cell in read(path).cells for text in descriptions(cell)]
    assert len(texts) > 50
    assert sorted(texts) == sorted(set(texts))


COUNTED = re.compile(
    r"\d|\b(one|two|three|four|five|six|seven|eight|nine|ten|forty|sixteen|half|rows?|curves?|panels?)\b"
)


def test_descriptions_say_what_there_is_to_see(path):
    """At least twelve words, and a number or a count among them."""
    for cell in read(path).cells:
        for text in descriptions(cell):
            words = re.sub(r"<.*?>", " ", text.replace("This figure in words", "")).lower()
            assert len(words.split()) >= 12, words
            assert COUNTED.search(words), words


def test_exercise_cells_hold_one_definition_and_its_checks(path):
    """So that a test can answer them, and a learner sees at once what to fill in."""
    for cell in code_cells(read(path)):
        if "exercise" in tags(cell):
            body = [node for node in ast.parse(cell.source).body if not isinstance(node, (ast.Import, ast.ImportFrom))]
            assert [type(node) for node in body] in ([ast.FunctionDef, ast.Assign], [ast.ClassDef, ast.Assign])
            assert body[1].value.func.id == "check", cell.source
        else:
            assert " = check(" not in cell.source


def test_every_notebook_has_its_exercises_and_a_quiz(path):
    notebook = read(path)
    checks = [name for cell in code_cells(notebook) for name in re.findall(r' = check\("([\w.]+)"', cell.source)]
    wanted = {name for name, exercise in EXERCISES.items() if path.stem.startswith(exercise.notebook)}
    assert wanted <= set(checks)
    assert any(f'show_quiz("{path.stem}")' in cell.source for cell in code_cells(notebook))


def test_files_hold_nothing_superfluous(path, tmp_path):
    """`make notebooks` normalises them, so normalising again changes nothing."""
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    subprocess.run([sys.executable, ROOT / "scripts" / "normalise_notebooks.py", copy], check=True)
    assert copy.read_text() == path.read_text()


def test_normalising_removes_what_editors_leave(tmp_path):
    cell = nbformat.v4.new_code_cell("1", execution_count=1, metadata={"collapsed": True, "tags": ["mistake"]})
    cell.outputs = [nbformat.v4.new_output("stream", text=text) for text in ("10 %\r 50 %", "\r100 %\n", "done\n")]
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "IntSlider(value=0)"}
    cell.outputs.append(nbformat.v4.new_output("display_data", view))
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {"state": {}}, "authors": []})
    nbformat.write(notebook, tmp_path / "a.ipynb")
    subprocess.run([sys.executable, ROOT / "scripts" / "normalise_notebooks.py", tmp_path / "a.ipynb"], check=True)
    normal = read(tmp_path / "a.ipynb")
    assert set(normal.metadata) == {"kernelspec", "language_info"}
    assert normal.cells[0].metadata == {"tags": ["mistake"]}
    assert [output.text for output in normal.cells[0].outputs] == ["100 %\ndone\n"]


def test_stated_times_are_the_rules():
    """In the README, in notebook 00, in each notebook and in the workshop: `python scripts/stamp_minutes.py`."""
    for file in [ROOT / "README.md", *NOTEBOOKS, *stamp_minutes.PAGES.values()]:
        assert stamp_minutes.stamped(file) == file.read_text(encoding="utf-8"), file


def test_every_notebook_states_its_times(path):
    number = path.name[:2]
    texts = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    stated = f"about {stamp_minutes.reading(number)} minutes, {stamp_minutes.all_of_it(number)} with the exercises"
    assert any(f"| **Reading** | {stated} |" in text for text in texts)
    times = f"| {stamp_minutes.reading(number)} min | {stamp_minutes.all_of_it(number)} min |"
    assert re.search(rf"\(notebooks/{path.name}\) .*{re.escape(times)}", (ROOT / "README.md").read_text("utf-8"))
    if number != "00":
        assert re.search(rf"\({path.name}\) .*{re.escape(times)}", "\n".join(map(all_text, NOTEBOOKS[:1])))


def all_text(path):
    return "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
