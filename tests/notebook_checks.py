"""What nbdev passes over in silence, and what our style asks of a notebook: one function a check.

Each takes a `Project` and returns one line for each thing that is wrong.
"""

import ast
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

EXPORTS = {"export", "exporti", "exports"}
DIRECTIVES = EXPORTS | {"default_exp", "hide", "slow", "gpu", "widgets", "echo:"}
MAX_BODY = 30  # lines of code in a function; the style asks for 25
MAX_SIZE = 300_000  # bytes of a notebook
# Parameters that mean the same in every chapter need no comment if they have a type.
PLAIN = {
    *("doc", "docs", "corpus", "gold", "pred", "span", "spans", "text", "windows", "row", "path"),
    *("self", "cls", "seed", "scheme", "tagger", "tokenizer", "encoder", "net", "cache_dir"),
    *("token_budget", "resamples", "weight_decay", "words"),
}
HAND_WRITTEN = {"__init__", "all", "_modidx", "_pages"}
MACHINE_PATH = re.compile(r"(?<![\w.:/~])/(?:home|root|Users|tmp|work|private|var|mnt|opt)/[\w.-]+")
DIRECTIVE_LIKE = re.compile(
    r"^\s*#\s*[|!]|^\s*#\s*(?:default_?exp|export[is]?|hide)\s*(?:\w+\s*)?$", re.MULTILINE
)


@dataclass
class Project:
    """The notebooks of a project, read once, and its modules."""

    root: Path

    def __post_init__(self):
        paths = sorted(self.root.glob("nbs/**/*.ipynb"))
        self.paths = [path for path in paths if ".ipynb_checkpoints" not in path.parts]
        self.notebooks = {path.name: json.loads(path.read_bytes()) for path in self.paths}
        self.modules = {path.stem: path for path in sorted(self.root.glob("clinical_ner/*.py"))}

    def chapters(self) -> list[str]:
        """The names of the notebooks that make a module: those with a number."""
        return [name for name in self.notebooks if re.match(r"\d+_", name)]

    def code(self, name: str) -> Iterator[tuple[int, dict, str]]:
        """Number, directives and source (without them) of each code cell of a notebook."""
        for i, cell in enumerate(self.notebooks[name]["cells"]):
            if cell["cell_type"] == "code":
                yield i, *split_directives("".join(cell["source"]))

    def parsed(self, name: str) -> Iterator[tuple[int, dict, ast.Module, str]]:
        """Number, directives, syntax tree and source of each code cell of a notebook."""
        for i, directives, source in self.code(name):
            source = re.sub(r"^\s*[%!].*$", "pass", source, flags=re.MULTILINE)
            yield i, directives, ast.parse(source), source

    def exported(self, name: str) -> Iterator[tuple[int, ast.Module, str]]:
        """Number, syntax tree and source of each exported cell of a notebook."""
        for i, directives, tree, source in self.parsed(name):
            if EXPORTS & directives.keys():
                yield i, tree, source


def split_directives(source: str) -> tuple[dict[str, list[str]], str]:
    """The directives at the top of a cell, as nbdev reads them, and the rest of the cell."""
    directives, lines = {}, source.splitlines(keepends=True)
    while lines and (not lines[0].strip() or re.match(r"\s*#\s*\|", lines[0])):
        words = lines.pop(0).strip().partition("|")[2].split()
        if words:
            directives[words[0]] = words[1:]
    return directives, "".join(lines)


def default_exps(project: Project, name: str) -> list[str]:
    """The modules that a notebook says it makes."""
    return [
        "".join(directives["default_exp"])
        for _, directives, _ in project.code(name)
        if "default_exp" in directives
    ]


def check_one_module_each(project: Project) -> list[str]:
    """Two notebooks with one `default_exp`: the second overwrites the first."""
    makers = defaultdict(list)
    for name in project.notebooks:
        for module in default_exps(project, name):
            makers[module].append(name)
    return [
        f"{', '.join(names)}: make one module, {module}: the last overwrites the others"
        for module, names in makers.items()
        if len(names) > 1
    ]


def check_default_exp(project: Project) -> list[str]:
    """A notebook that exports names its module in its second cell, after its own name."""
    wrong = []
    for name in project.notebooks:
        modules = default_exps(project, name)
        wanted = [re.sub(r"^\d+_", "", name).removesuffix(".ipynb")]
        if name not in project.chapters():
            if modules or any(project.exported(name)):
                wrong.append(f"{name}: exports, but is no chapter: its name has no number")
        elif modules != wanted:
            wrong.append(f"{name}: default_exp is {modules}, not {wanted}: its code goes astray")
        elif next(project.code(name))[:2] != (1, {"default_exp": wanted}):
            wrong.append(f"{name}: the second cell is not `#| default_exp {wanted[0]}` alone")
    return wrong


def check_directives(project: Project) -> list[str]:
    """A directive that is misspelt, or comes after code, or stands in text, does nothing."""
    wrong = []
    for name, notebook in project.notebooks.items():
        for i, cell in enumerate(notebook["cells"]):
            source = "".join(cell["source"])
            place = f"{name}, cell {i}"
            if cell["cell_type"] == "markdown":
                fenced = re.sub(r"^```.*?^```", "", source, flags=re.MULTILINE | re.DOTALL)
                if re.search(r"^\s*#\|", fenced, re.MULTILINE):
                    wrong.append(f"{place}: a directive in a text cell does nothing")
                continue
            directives, rest = split_directives(source)
            wrong += [
                f"{place}: unknown directive {word!r}" for word in directives.keys() - DIRECTIVES
            ]
            wrong += [
                f"{place}: `{word}` takes no name: one notebook makes one module"
                for word in directives.keys() & EXPORTS
                if directives[word]
            ]
            wrong += [
                f"{place}: {found[0].strip()!r} is no directive, or comes too late to be one"
                for found in DIRECTIVE_LIKE.finditer(rest)
            ]
    return wrong


def check_frontmatter(project: Project) -> list[str]:
    """The first cell has the title and the sentence that become the page's and the module's."""
    wrong = []
    for name, notebook in project.notebooks.items():
        first = notebook["cells"][0]
        if first["cell_type"] != "markdown" or not re.match(
            r"# [^\n]+\n\n> [^\n]+$", "".join(first["source"])
        ):
            wrong.append(f"{name}: the first cell is not `# title`, blank line, `> one sentence`")
        if any("skip_exec" in "".join(cell["source"]) for cell in notebook["cells"]):
            wrong.append(f"{name}: skip_exec keeps the notebook from being tested")
    return wrong


def check_modules(project: Project) -> list[str]:
    """Every module has its notebook: one that was renamed leaves its old module behind."""
    made = {module for name in project.notebooks for module in default_exps(project, name)}
    wrong = [
        f"clinical_ner/{module}.py: no notebook makes it; remove it"
        for module in project.modules.keys() - made - HAND_WRITTEN
    ]
    return wrong + [
        f"clinical_ner/{module}.py: its notebook was not exported"
        for module in made - project.modules.keys()
    ]


def module_names(path: Path) -> list[str] | None:
    """The value of a module's `__all__`, or None where it has none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return ast.literal_eval(node.value)
    return None


def check_public_names(project: Project) -> list[str]:
    """Every module offers names, `all.py` takes them in chapter order, and none is taken twice."""
    wrong, owners = [], defaultdict(list)
    for module in project.modules.keys() - HAND_WRITTEN:
        names = module_names(project.modules[module])
        if not names:
            wrong.append(f"clinical_ner/{module}.py: `__all__` is {names}: it offers nothing")
        for name, count in Counter(names or []).items():
            owners[name] += [module] * count
    wrong += [
        f"{name}: defined in {' and '.join(at)}" for name, at in owners.items() if len(at) > 1
    ]
    text = project.modules["all"].read_text(encoding="utf-8") if "all" in project.modules else ""
    taken = re.findall(r"^from \.(\w+) import \*", text, re.MULTILINE)
    chapters = [re.sub(r"^\d+_(.*)\.ipynb", r"\1", name) for name in project.chapters()]
    if taken != chapters:
        wrong.append(f"clinical_ner/all.py takes {taken}, not {chapters}")
    return wrong


def check_cell_ids(project: Project) -> list[str]:
    """Cells without ids get random ones whenever the notebook is cleaned."""
    wrong = []
    for name, notebook in project.notebooks.items():
        ids = [cell.get("id") for cell in notebook["cells"]]
        version = notebook["nbformat"], notebook["nbformat_minor"]
        if None in ids or len(set(ids)) < len(ids) or version < (4, 5):
            wrong.append(f"{name}: cells without an id, or with another's, or format before 4.5")
    return wrong


def _imported_modules(tree: ast.Module, owners: dict[str, str]) -> Iterator[str]:
    """The modules of the package that a cell imports from; a lazy name counts as its module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (
                a.name.partition(".")[2] for a in node.names if a.name[:13] == "clinical_ner."
            )
        elif isinstance(node, ast.ImportFrom) and node.module == "clinical_ner":
            yield from (owners.get(a.name, a.name) for a in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "")[:13] == "clinical_ner.":
            yield node.module.partition(".")[2]
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield node.module or ""


def check_import_order(project: Project) -> list[str]:
    """A chapter imports from chapters before it only; in exported code, not from itself."""
    wrong = []
    number = {re.sub(r"^\d+_(.*)\.ipynb", r"\1", name): name for name in project.chapters()}
    owners = {
        name: module
        for module in number.keys() & project.modules.keys()
        for name in module_names(project.modules[module]) or []
    }
    for name in project.chapters():
        for i, directives, tree, _ in project.parsed(name):
            last = "" if EXPORTS & directives.keys() else name
            for module in _imported_modules(tree, owners):
                known = number.get(module, "~")
                if known >= name and known != last:
                    wrong.append(f"{name}, cell {i}: imports {module}, which comes later")
    return wrong


def check_import_cells(project: Project) -> list[str]:
    """Cells with an import are run again, without the others, when the documentation is built."""
    wrong = []
    allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    for name in project.notebooks:
        for i, directives, tree, _ in project.parsed(name):
            exported = EXPORTS & directives.keys()
            nodes = tree.body if exported else list(ast.walk(tree))
            if any(isinstance(node, allowed[:2]) for node in nodes) and not all(
                isinstance(node, allowed[:2] if exported else allowed) for node in tree.body
            ):
                wrong.append(
                    f"{name}, cell {i}: imports and other code; give imports their own cell"
                )
            if exported and any("*" in [a.name for a in _aliases(node)] for node in ast.walk(tree)):
                wrong.append(f"{name}, cell {i}: `import *` inside the package")
    return wrong


def _aliases(node: ast.AST) -> list[ast.alias]:
    """What an import statement names; nothing for any other node."""
    return node.names if isinstance(node, ast.ImportFrom) else []


def check_outputs(project: Project) -> list[str]:
    """Saved outputs show no error and no path of the machine they were made on; notebooks are small."""
    wrong = [
        f"{path.name}: {path.stat().st_size:,} bytes, more than {MAX_SIZE:,}"
        for path in project.paths
        if path.stat().st_size > MAX_SIZE
    ]
    for name, notebook in project.notebooks.items():
        for i, cell in enumerate(notebook["cells"]):
            for output in cell.get("outputs", []):
                text = json.dumps(output)
                if output["output_type"] == "error" or "Traceback (most recent" in text:
                    wrong.append(f"{name}, cell {i}: the saved output is an error")
                if found := MACHINE_PATH.search(text.replace("\\/", "/")):
                    wrong.append(f"{name}, cell {i}: the saved output shows {found[0]}")
    return wrong


def check_functions(project: Project) -> list[str]:
    """Functions are short and say what they do; each parameter of a public one is explained."""
    wrong = []
    for name in project.chapters():
        for i, tree, source in project.exported(name):
            lines = source.splitlines()
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    place = f"{name}, cell {i}, {node.name}"
                    wrong += [f"{place}: {fault}" for fault in _faults(node, lines, tree)]
    return wrong


def _faults(node: ast.AST, lines: list[str], tree: ast.Module) -> Iterator[str]:
    """What is wrong with one function or class of a cell."""
    public = not node.name.startswith("_") and node in tree.body
    if not ast.get_docstring(node) and (public or node.name[:1] != "_" and _is_method(node, tree)):
        yield "no docstring"
    if isinstance(node, ast.ClassDef):
        return
    body = node.body[1:] if ast.get_docstring(node) else node.body
    size = (
        sum(bool(line.strip()) for line in lines[body[0].lineno - 1 : node.end_lineno])
        if body
        else 0
    )
    if size > MAX_BODY:
        yield f"a body of {size} lines, more than {MAX_BODY}"
    arguments = [*node.args.posonlyargs, *node.args.args]
    if public and len(arguments) - len(node.args.defaults) > 5:
        yield "more than 5 parameters without a default"
    for argument in [*arguments, *node.args.kwonlyargs] if public else []:
        rest = lines[argument.end_lineno - 1][argument.end_col_offset :]
        if "#" not in rest and not (argument.annotation and argument.arg in PLAIN):
            yield f"parameter {argument.arg} has no comment that explains it"


def _is_method(node: ast.AST, tree: ast.Module) -> bool:
    """Whether `node` is a method of a class of the cell that inherits none."""
    owners = [owner for owner in tree.body if isinstance(owner, ast.ClassDef) and not owner.bases]
    return any(node in owner.body for owner in owners)


def _public_names(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Names that a cell defines for all to use, each with what defines it."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        else:
            targets = node.targets if isinstance(node, ast.Assign) else []
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        yield from ((name, node) for name in names if not name.startswith("_"))


def _words(node: ast.AST | None) -> set[str]:
    """Names and attributes in a piece of code."""
    nodes = ast.walk(node) if node else ()
    return {getattr(n, "id", None) or getattr(n, "attr", "") for n in nodes}


def check_examples(project: Project) -> list[str]:
    """Every public name stands in an example or assert of its notebook; for a class, what makes it may."""
    wrong = []
    for name in project.chapters():
        cells = list(project.parsed(name))
        shown = [tree for _, told, tree, _ in cells if not EXPORTS & told.keys()]
        used = set().union(*map(_words, shown))
        public = [
            (i, *found) for i, tree, _ in project.exported(name) for found in _public_names(tree)
        ]
        made = [
            _words(getattr(node, "returns", None)) for _, known, node in public if known in used
        ]
        for i, known, node in public:
            returned = isinstance(node, ast.ClassDef) and known in set().union(*made)
            if known not in used and not returned:
                wrong.append(f"{name}, cell {i}: {known} stands in no example and no assert")
    return wrong


CHECKS = [value for name, value in sorted(globals().items()) if name.startswith("check_")]
