"""Leave in notebooks only what a reader or a test needs, so that a diff shows what changed.

python scripts/normalise_notebooks.py notebooks/*.ipynb
"""

import base64
import io
import sys
from pathlib import Path

import nbformat
from PIL import Image

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
KEPT = "cellView", "jupyter", "slideshow", "tags"  # of a cell's metadata: folded or not, the slide type, tags
WIDGET = "application/vnd.jupyter.widget-view+json"  # of no use in a file: the state behind it is not saved


def normalise(notebook):
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in KEPT if cell.metadata.get(key)})
        if cell.get("outputs"):
            cell.outputs = joined(output for output in cell.outputs if WIDGET not in output.get("data", {}))
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = last_of_overwritten(output.text)
            elif "image/png" in output.get("data", {}):
                output.data["image/png"] = in_fewer_bytes(output.data["image/png"])


def joined(outputs):
    """The outputs, with consecutive pieces of text put together."""
    result = []
    for output in outputs:
        before = result[-1] if result else None
        if before and before.output_type == output.output_type == "stream" and before.name == output.name:
            before.text += output.text
        else:
            result.append(output)
    return result


def last_of_overwritten(text):
    """The text as a terminal would end up showing it: a line that was written over and over is kept once."""
    return "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))


def in_fewer_bytes(png):
    """The same pixels, without the transparency that matplotlib writes, and in one channel if they are grey."""
    picture = Image.open(io.BytesIO(base64.b64decode(png)))
    opaque = picture.mode != "RGBA" or picture.getchannel("A").getextrema() == (255, 255)
    if picture.n_frames > 1 or not opaque:
        return png
    colour, file = picture.convert("RGB"), io.BytesIO()
    grey = colour.convert("L")
    best = grey if grey.convert("RGB").tobytes() == colour.tobytes() else colour
    best.save(file, "PNG", optimize=True)
    return min(png, base64.b64encode(file.getvalue()).decode() + "\n", key=len)


for path in map(Path, sys.argv[1:]):
    notebook = nbformat.read(path, as_version=4)
    normalise(notebook)
    nbformat.write(notebook, path)
