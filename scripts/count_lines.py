"""How many lines of the package are mathematics, and how many check arguments.

python scripts/count_lines.py

Only lines of code count: no blank lines, comments or docstrings. Checks are all of annotations.py, imports from it,
decorators such as `@checked`, and the functions named in CHECKS. Checks of files and of results are not included, and
the classroom is not counted.
"""

import ast
import io
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKS = re.compile(r"check_(?!same|run)\w+|answer_checked|levels_checked|one_for_each")


def lines_of_code(text):
    """The numbers of the lines that hold code."""
    kinds = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in kinds]
    lines = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def lines_of_checks(text):
    lines = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            decorators = [
                one for one in node.decorator_list if "checked" in ast.unparse(one) or "downwards" in ast.unparse(one)
            ]
            lines |= {one.lineno for one in decorators}
        if isinstance(node, ast.ImportFrom) and node.module == "course_utils.annotations":
            lines |= set(range(node.lineno, node.end_lineno + 1))
        if isinstance(node, ast.FunctionDef) and CHECKS.fullmatch(node.name):
            lines |= set(range(node.lineno, node.end_lineno + 1))
    return lines


def main():
    total = checks = 0
    for path in sorted((ROOT / "course_utils").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        code = lines_of_code(text)
        found = code if path.stem == "annotations" else code & lines_of_checks(text)
        total, checks = total + len(code), checks + len(found)
        print(f"{path.name:16} {len(code):5} lines of code, {len(found):4} of them checks")
    print(f"{'together':16} {total:5} lines of code, {checks:4} of them checks")


if __name__ == "__main__":
    main()
