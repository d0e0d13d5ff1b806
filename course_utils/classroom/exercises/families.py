"""Families of mistakes: the finished version with one thing changed, and what to tell somebody who changed it.

A root that is missing, another table, a neighbouring level, a forgotten line: nobody writes these down for every
exercise. They are made from the source of the finished version by rewriting its syntax tree. An answer that does in
every case what a rewritten version does gets that version's message.
"""

import ast
import contextlib
import inspect
import itertools
import sys
import time

NUMBERS = int, float
TABLES = {"signal_rate", "noise_rate", "beta", "alpha", "alpha_bar"}
ROOTS_OF_THE_REST = {"signal_rate": "noise_rate", "noise_rate": "signal_rate"}
PASSED_ON = {"clamp", "detach", "flip", "round", "square", "abs", "softmax", "cumprod", "sigmoid", "transpose"}
PASSED_ON |= {"reshape", "permute", "contiguous", "double", "to", "long", "int", "tolist", "item", "float"}
OTHER_FUNCTIONS = {
    "randn_like": ("rand_like", "The noise is uniform, from `rand`. Use `randn`, which draws from N(0, 1)."),
    "randn": ("rand", "The noise is uniform, from `rand`. Use `randn`, which draws from N(0, 1)."),
    "mse_loss": ("l1_loss", "These are absolute errors. Square them instead."),
    "sin": ("cos", "This should be a sine, not a cosine."),
    "cos": ("sin", "This should be a cosine, not a sine."),
    "mean": ("sum", "This is a sum. It should be the mean."),
    "min": ("max", "Use `min` here, not `max`."),
    "max": ("min", "Use `max` here, not `min`."),
    "exp": ("log", "This is a logarithm. It should be `exp`."),
    "log10": ("log", "This is the natural logarithm. Use the one to base 10."),
    "log10 to base 2": ("log2", "This is the logarithm to base 2. Use the one to base 10."),
    "round": ("floor", "The numbers are cut off. Round them instead."),
    "parameters": ("buffers", "These are the buffers. They should be the parameters."),
}
OTHER_SIGNS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*"}
SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def diagnosis(source, finished, agrees, seconds=1.0):
    """The message of the first change, or pair of changes, with which `agrees(changed version)`; None if there is none.

    Args:
        source: of the finished version, without decorators of types and without docstrings.
        finished: the finished version itself, for the names that it uses.
        agrees: whether a version does in every case what the answer does.
        seconds: when to give up.
    """
    end = time.monotonic() + seconds
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    changes = list(all_changes(tree))
    pairs = itertools.combinations(changes, 2)
    for chosen in itertools.chain(zip(changes), pairs):
        if time.monotonic() > end:
            return None
        version = changed(tree, chosen, finished)
        if version is not None and agrees(version):
            return " ".join(dict.fromkeys(message for _, _, message in chosen))
    return None


def changed(tree, chosen, finished):
    """The finished version with changes made, or None where it can't be made."""
    before = [(place, place.node) for place, _, _ in chosen]
    for place, new, _ in chosen:
        place.put(new)
    try:
        code = compile(ast.fix_missing_locations(tree), "<changed>", "exec")
        namespace = dict(vars(sys.modules[inspect.unwrap(finished).__module__]))
        exec(code, namespace)
        return namespace[tree.body[0].name]
    except Exception:
        return None
    finally:
        for place, node in reversed(before):
            place.put(node)


class Place:
    """Where a node of a syntax tree hangs."""

    def __init__(self, parent, field, index, node):
        self.parent, self.field, self.index, self.node = parent, field, index, node

    def put(self, node):
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def places(tree):
    """All nodes of a tree, each with where it hangs, from the outside in."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if isinstance(value, ast.AST):
                yield Place(parent, field, None, value)
            elif isinstance(value, list):
                for index, node in enumerate(value):
                    if isinstance(node, ast.AST):
                        yield Place(parent, field, index, node)


def all_changes(tree):
    """(place, new node, message), likely ones first."""
    names = arguments_and_variables(tree)
    found = []
    for place in places(tree):
        for likely, new, message in changes_of(place, names):
            mode = "exec" if isinstance(place.node, ast.stmt) else "eval"
            with contextlib.suppress(SyntaxError):  # a slice, say, which stands alone nowhere
                node = ast.parse(new, mode=mode).body
                found.append((likely, (place, node[0] if mode == "exec" else node, message)))
    return [change for _, change in sorted(found, key=lambda pair: pair[0])]


def arguments_and_variables(tree):
    nodes = list(ast.walk(tree))
    arguments = [node.arg for node in nodes if isinstance(node, ast.arg) and node.arg != "self"]
    variables = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return list(dict.fromkeys(arguments + variables))


def changes_of(place, names):
    """(how likely, 0 being most; new source; message) for one place."""
    node = place.node
    if isinstance(node, ast.stmt):
        yield from of_statement(place, node)
    elif isinstance(node, ast.expr) and not isinstance(getattr(node, "ctx", None), ast.Store):
        text = ast.unparse(node)
        for kind, changes in OF_EXPRESSIONS.items():
            if isinstance(node, kind):
                yield from changes(node, text, names)


def of_statement(place, node):
    text = ast.unparse(node)
    if isinstance(node, ast.Expr):
        yield 0, "pass", f"The line `{text}` is missing, or has no effect."
    if isinstance(node, ast.AugAssign):
        yield 0, "pass", f"The line `{text}` is missing."
    if isinstance(node, ast.Return) and node.value is not None:
        value = ast.unparse(node.value)
        yield 1, f"return ({value}).clamp(-1, 1)", "The result is clamped to -1 .. 1, but it should not be."
        yield 2, f"return -({value})", "Everything has the wrong sign."
        yield 2, f"return ({value}).sqrt()", "There is a square root around the result that should not be there."
        yield 2, f"return ({value}) ** 2", "The result is squared, but it should not be."
        if isinstance(node.value, ast.Tuple):
            for part in node.value.elts:
                yield (
                    1,
                    f"return {ast.unparse(part)}",
                    f"Only `{ast.unparse(part)}` is returned. It should be `{value}`.",
                )
    if isinstance(node, ast.If) and not node.orelse:
        yield 1, "pass", f"The case `{ast.unparse(node.test)}` is missing."
    if isinstance(node, (ast.Expr, ast.Assign)) and isinstance(place.index, int):
        after = getattr(place.parent, place.field)[place.index + 1 :]
        if isinstance(node, ast.Expr) and after and isinstance(after[0], ast.Expr):
            follows = ast.unparse(after[0])
            yield 1, f"if True:\n    {follows}\n    {text}", f"`{text}` should come before `{follows}`, not after it."


def of_call(node, text, names):
    function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    plain = [ast.unparse(argument) for argument in node.args]
    owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
    if function == "sqrt" and owner.endswith((".alpha", ".beta")):
        other = owner.replace(".alpha", ".BETA").replace(".beta", ".alpha").replace(".BETA", ".beta")
        yield (
            0,
            f"(1 - {other}.sqrt())",
            f"`1 - {other}.sqrt()` should be `{text}`: subtract from 1 first, then take the root.",
        )
    if function == "sqrt":
        inner = plain[0] if plain else owner
        yield 0, inner, f"A square root is missing: it should be `{text}`."
    if function in PASSED_ON and owner not in ("", "torch", "F"):
        yield 1, owner, f"`.{function}(...)` is missing after `{owner}`."
    if function in ("max", "min", "clamp") and len(plain) == 2:
        yield 0, plain[0], f"The limit in `{text}` is missing."
    for called, (other, message) in OTHER_FUNCTIONS.items():
        if called.split()[0] == function:
            yield 0, text.replace(f"{function}(", f"{other}(", 1), message
    if function == "at" and len(plain) == 3:
        yield (
            0,
            f"at({plain[0]}.sqrt(), {plain[1]}, {plain[2]})",
            f"There is a square root around `{plain[0]}` that should not be there.",
        )
        yield (
            0,
            f"at({plain[0]} ** 2, {plain[1]}, {plain[2]})",
            f"`{plain[0]}` is squared, or its square root is missing.",
        )
    for i, j in itertools.combinations(range(len(plain)), 2):
        swapped = [*plain]
        swapped[i], swapped[j] = plain[j], plain[i]
        options = [ast.unparse(keyword) for keyword in node.keywords]
        new = f"{ast.unparse(node.func)}({', '.join(swapped + options)})"
        yield 2, new, f"`{plain[i]}` and `{plain[j]}` are swapped in `{text}`."
    for i, keyword in enumerate(node.keywords):
        others = [ast.unparse(other) for j, other in enumerate(node.keywords) if j != i]
        new = f"{ast.unparse(node.func)}({', '.join(plain + others)})"
        yield 2, new, f"`{ast.unparse(keyword)}` is missing in `{ast.unparse(node.func)}(...)`."


def of_sum_or_product(node, text, names):
    left, right = ast.unparse(node.left), ast.unparse(node.right)
    if isinstance(node.op, ast.Pow):
        half = right in ("0.5", "1 / 2")
        yield 0, left, f"{'A square root' if half else 'The power'} is missing: it should be `{text}`."
        yield 2, f"({left}) ** (-({right}))", f"The exponent of `{text}` has the wrong sign."
        yield 1, f"({left}) * ({right})", f"`{text}` is a power, not a product."
    if type(node.op) not in SIGNS:
        return
    other = OTHER_SIGNS[type(node.op)]
    words = "plus and minus are mixed up" if other in "+-" else "multiplication and division are mixed up"
    yield 1, f"({left}) {other} ({right})", f"In `{text}`, {words}."
    if isinstance(node.op, ast.Mult):
        yield 0, right, f"The factor `{left}` is missing."
        yield 0, left, f"The factor `{right}` is missing."
        yield 2, f"({text}) * ({left})", f"The factor `{left}` is there twice."
        yield 2, f"({text}) * ({right})", f"The factor `{right}` is there twice."
    if isinstance(node.op, ast.Div):
        yield 1, f"({left}) // ({right})", f"The fraction in `{text}` is lost: divide with `/`, not `//`."
        yield 0, left, f"The division by `{right}` is missing."
        yield 1, f"({right}) / ({left})", f"`{text}` is upside down."
        yield 2, f"({left}) / ({right}) ** 2", f"You divide by `{right}` twice, or by its square."
        yield 2, f"({left}) / ({right}) ** 0.5", f"You divide by the square root of `{right}`, not by `{right}` itself."
    if isinstance(node.op, (ast.Add, ast.Sub)):
        yield 0, left, f"The term `{SIGNS[type(node.op)]} {right}` is missing."
        yield 1, right, f"The term `{left}` is missing."
    if isinstance(node.op, ast.Sub):
        yield 1, f"({right}) - ({left})", f"`{text}` is the wrong way round."
    if isinstance(node.op, (ast.Mult, ast.Div)):
        for inner, outer, first in ((node.left, right, True), (node.right, left, False)):
            if type(getattr(inner, "op", None)) in (ast.Add, ast.Sub):
                yield (
                    0,
                    without_brackets(inner, SIGNS[type(node.op)], outer, first),
                    (f"Brackets are missing around `{ast.unparse(inner)}` in `{text}`."),
                )


def without_brackets(inner, sign, outer, first):
    """(a + b) * c, or c * (a + b), read as it is without its brackets."""
    a, plus, b = ast.unparse(inner.left), SIGNS[type(inner.op)], ast.unparse(inner.right)
    return f"{a} {plus} ({b}) {sign} ({outer})" if first else f"({outer}) {sign} ({a}) {plus} ({b})"


def of_attribute(node, text, names):
    if node.attr in TABLES:
        for other in sorted(TABLES - {node.attr}):
            new = f"{ast.unparse(node.value)}.{other}"
            yield 0, new, f"`{new}` is used instead of `{text}`."
        yield 1, f"{text}.sqrt()", f"There is a square root around `{text}` that should not be there."
        yield 1, f"{text} ** 2", f"`{text}` is squared, or its square root is missing."
    if node.attr in ROOTS_OF_THE_REST:
        other = f"{ast.unparse(node.value)}.{ROOTS_OF_THE_REST[node.attr]}"
        yield 0, f"(1 - {other})", f"`1 - {other}` is used instead of `{text}`: it is the *squares* that sum to 1."
    if node.attr == "T":
        yield 0, f"({text} - 1)", f"`{text} - 1` is used instead of `{text}`."
        yield 0, f"({text} + 1)", f"`{text} + 1` is used instead of `{text}`."
        yield 1, "1000", f"The number 1000 is hard-coded: use `{text}`, since not every path has 1000 levels."


def of_name(node, text, names):
    if text not in names:
        return
    if text in ("t", "s"):
        yield 0, f"({text} - 1)", f"The level is one too low: `{text} - 1` is used instead of `{text}`."
        yield 0, f"({text} + 1)", f"The level is one too high: `{text} + 1` is used instead of `{text}`."
    if text.startswith("x_") or text in ("noise_hat", "scores"):
        yield 1, f"{text}.clamp(-1, 1)", f"`{text}` is clamped to -1 .. 1, but it should not be."
    if text == "noise":
        yield 0, "torch.randn_like(noise)", "The function draws noise of its own. Use the argument `noise`."
        yield 1, "(-noise)", "The noise is subtracted instead of added."
    for other in names:
        if other != text:
            yield 1, other, f"`{other}` is used instead of `{text}`."


def of_constant(node, text, names):
    if not isinstance(node.value, NUMBERS) or isinstance(node.value, bool):
        return
    for other in dict.fromkeys(numbers_like(node.value)):
        shown = int(other) if isinstance(node.value, int) and other == int(other) else other
        yield 2, f"({shown})", f"The number {shown} should be {text}."


def numbers_like(value):
    """What a slip makes of a number: a neighbour, the double or half, another power of 10, a 9 too few."""
    near_1 = (1 - 10 * (1 - value),) if 0.9 < value < 1 else ()
    return (value + 1, value - 1, 2 * value, value / 2, value / 10, 10 * value, *(round(other, 6) for other in near_1))


def of_minus(node, text, names):
    if isinstance(node.op, ast.USub):
        yield 0, ast.unparse(node.operand), f"The minus sign in `{text}` is missing."


def of_list(node, text, names):
    parts = [ast.unparse(part) for part in node.elts]
    if len(parts) == 2 and not all(isinstance(part, ast.Constant) for part in node.elts):
        yield 0, f"[{parts[1]}, {parts[0]}]", f"`{parts[0]}` and `{parts[1]}` are in the wrong order."
        for one, other in (parts, parts[::-1]):
            yield 2, f"[{one}, {one}]", f"`{one}` is there twice, and `{other}` is missing."


def of_comparison(node, text, names):
    left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
    for sign in ("<", "<=", ">", ">=", "==", "!="):
        yield 2, f"{left} {sign} {right}", f"`{left} {sign} {right}` should be `{text}`."


def of_choice(node, text, names):
    yield 1, ast.unparse(node.body), f"The case `{ast.unparse(node.orelse)}` is missing."
    yield 1, ast.unparse(node.orelse), f"The case `{ast.unparse(node.body)}` is missing."


OF_EXPRESSIONS = {
    ast.Call: of_call,
    ast.BinOp: of_sum_or_product,
    ast.Attribute: of_attribute,
    ast.Name: of_name,
    ast.Constant: of_constant,
    ast.UnaryOp: of_minus,
    (ast.List, ast.Tuple): of_list,
    ast.Compare: of_comparison,
    ast.IfExp: of_choice,
}
