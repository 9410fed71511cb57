"""What is installed: the wheel and what is in it, its metadata, what it needs, its command line."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from d2lcompute.notebooks import published

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "d2lcompute"
ADDRESS = "https://github.com/someone/d2lcompute"
STANDARD = sys.stdlib_module_names | {"d2lcompute"}
# What is imported under another name than it is installed by.
NAMES = {
    "PIL": "matplotlib",
    "lazy_loader": "lazy-loader",
    "jupyter_client": "jupyter-client",
    "yaml": "pyyaml",
}
# Parts that need an extra; what comes with ipykernel, such as IPython, is imported by kernels.
EXTRA = {
    "d2lcompute": "",
    "d2lcompute/notebooks": "notebooks",
    "d2lcompute/grading": "cluster",
    "d2lcompute/words": "test",
    "chapters": "test",
    "tests": "test",
    "docs": "dev",
}
OURS = {path.stem for folder in ("tests", "docs") for path in (ROOT / folder).rglob("*.py")}
OURS |= {"benchmarks", "docs", "pytest_d2l"}
BROUGHT = {
    "jupytext": {"markdown_it"},
    "sphinx": {"docutils"},
    "jupyter-client": {"jupyter_core"},
    "ipykernel": {"IPython", "zmq", "traitlets", "tornado"},
    "distributed": {"dask"},
    "torch": {"torchgen"},
}


def text_of(path):
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(wheel, names):
    path = next(name for name in names if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        return message_from_string(archive.read(path).decode("utf-8"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Run the command line of the wheel, far from the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)

    def call(*arguments, prefix=""):
        code = f"{prefix}\nfrom d2lcompute.__main__ import main; main()"
        environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONIOENCODING": "utf-8"}
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )

    return call


def test_the_wheel_holds_all_that_the_package_reads(names):
    for path in PACKAGE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.relative_to(ROOT).as_posix() in names
    for path in (ROOT / "chapters").glob("[ez][nh]/*.ipynb"):
        assert f"d2lcompute/chapters/{path.parent.name}/{path.name}" in names


def test_a_wheel_can_be_built_from_what_is_uploaded_as_source(tmp_path, names):
    build = [sys.executable, "-m", "hatchling", "build", "-d", tmp_path]
    subprocess.run([*build, "-t", "sdist"], cwd=ROOT, check=True, capture_output=True)
    shutil.unpack_archive(next(tmp_path.glob("*.tar.gz")), tmp_path, filter="data")
    source = next(path for path in tmp_path.iterdir() if path.is_dir())
    subprocess.run([*build, "-t", "wheel"], cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        assert set(archive.namelist()) == names


def test_the_wheel_puts_two_names_beside_those_of_others(names):
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if ".dist-info" not in top} == {"d2lcompute", "pytest_d2l.py"}


def test_who_installed_the_wheel_can_begin_a_course(installed, tmp_path):
    finished = installed("new", tmp_path / "course", "--url", f"git+{ADDRESS}")
    assert (finished.returncode, finished.stderr) == (0, "")
    written = {path.relative_to(tmp_path / "course").as_posix() for path in files(tmp_path)}
    assert {"reference.md", "constraints.txt", ".github/workflows/grade.yml"} <= written
    again = installed("new", tmp_path / "course", "--url", f"git+{ADDRESS}")
    assert again.stdout.count("kept as it was") == len(written)


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_commands_that_need_a_checkout_are_offered_there_alone(installed, call):
    assert "build" not in installed("--help").stdout.split()
    finished = installed("build")
    assert (finished.returncode, finished.stderr) == (2, "error: No such command 'build'.\n")
    assert "build" in call("--help")[1].split()


WITHOUT_EXTRAS = """
import sys
from importlib import metadata

class Hidden:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {"pytest", "nbval", "nbformat", "jupytext", "ipykernel"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden)
version = metadata.version
def hidden(name):
    if name in {"pytest", "nbval", "nbformat", "jupytext", "ipykernel"}:
        raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = hidden
"""


@pytest.mark.parametrize(
    "command",
    [
        ["run"],
        ["grade", __file__, "b"],
        ["release", __file__],
        ["report"],
        ["pytest", __file__, "b"],
    ],
    ids=lambda command: command[0],
)
def test_without_extras_commands_say_what_they_need(installed, command):
    finished = installed(*command, prefix=WITHOUT_EXTRAS)
    assert finished.returncode == 2
    assert re.fullmatch(r"error: .* is not installed; do pip install .*\n", finished.stderr)


def test_without_extras_the_rest_works(installed, tmp_path):
    for command in (["info"], ["--help"], ["new", tmp_path], ["open", tmp_path / "a", "--no-lab"]):
        finished = installed(*command, prefix=WITHOUT_EXTRAS)
        assert finished.returncode == 0, finished.stderr


def test_every_part_imports_what_its_dependencies_bring(metadata):
    brought = {extra: set() for extra in EXTRA.values()}
    for text in metadata.get_all("Requires-Dist"):
        requirement = Requirement(text)
        for extra, found in brought.items():
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                found.add(requirement.name)
                found.update(BROUGHT.get(requirement.name, ()))
    for path in [path for part in EXTRA for path in (ROOT / part).rglob("*.py")]:
        part = max((part for part in EXTRA if path.is_relative_to(ROOT / part)), key=len)
        allowed = brought[EXTRA[part]]
        for name in imported(path):
            known = NAMES.get(name, name) in allowed or name in OURS
            assert known or is_optional(path, name), (path, name)


def is_optional(path, name):
    """Whether the module asks first, or says what to do, where the package is missing."""
    return name in {"IPython", "pandas", "d2l", "torchvision"} and re.search(
        "def _ipython_display_|ImportError", text_of(path)
    )


def imported(path):
    """The packages of others that a module imports, but those that only type checkers see."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        found = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found = [node.module]
        yield from {name.partition(".")[0] for name in found} - STANDARD


def test_each_dependency_of_the_base_is_imported_by_it(metadata):
    used = {NAMES.get(name, name) for path in PACKAGE.rglob("*.py") for name in imported(path)}
    used.add("lazy-loader")
    assert {requirement.name for requirement in base(metadata)} <= used


def base(metadata):
    """What is installed without any extra."""
    return [Requirement(text) for text in metadata.get_all("Requires-Dist") if ";" not in text]


def test_every_python_that_is_claimed_is_tried(metadata):
    claimed = re.findall(r"Python :: (3\.\d+)", "\n".join(metadata.get_all("Classifier")))
    assert metadata["Requires-Python"] == f">={claimed[0]}"
    matrix = yaml.safe_load(text_of(".github/workflows/ci.yml"))["jobs"]["matrix"]["strategy"]
    tried = {row["python"] for row in matrix["matrix"]["include"]}
    assert tried == set(claimed)


def test_there_is_one_version():
    version = re.search(r'^version = "(.+)"', text_of("pyproject.toml"), re.M)[1]
    assert re.search(r"^version: (.+)", text_of("CITATION.cff"), re.M)[1] == version
    assert f"## {version} " in text_of("CHANGELOG.md")


def test_the_page_on_the_index_has_no_dead_link(metadata, monkeypatch):
    assert metadata.get_all("Project-URL", []) == [
        f"{name}, {url}" for name, url in published.urls().items()
    ]
    link = re.compile(r'(?:\]\(|src=")(?!#|https?:)')
    assert not link.search(metadata.get_payload())
    monkeypatch.setattr(published, "REPOSITORY", ADDRESS)
    shown = published.absolute(text_of("README.md"))
    assert not link.search(shown)
    assert f"({ADDRESS}/blob/main/chapters/en/1_blocks.ipynb)" in shown
    assert f'src="{ADDRESS}/raw/main/docs/' in shown


def test_the_readme_has_the_badges_that_are_known():
    badges = published.badges()
    assert text_of("README.md").startswith(f"# d2lcompute\n\n{badges}")


def test_all_links_are_made_from_the_one_address(monkeypatch):
    assert (published.urls(), published.badges(), published.notebook_badges("a")) == ({}, "", "")
    monkeypatch.setattr(published, "REPOSITORY", ADDRESS)
    assert published.site() == "https://someone.github.io/d2lcompute/"
    assert set(published.urls()) == {"Documentation", "Source", "Issues", "Changelog"}
    assert published.way_to_get("lab") == f'pip install "d2lcompute[lab] @ git+{ADDRESS}"'
    assert "blob/main/chapters/en/1_blocks.ipynb" in published.notebook_badges(
        "chapters/en/1_blocks.ipynb"
    )
    assert "pypi.org" not in published.badges()
    monkeypatch.setattr(published, "STATE", "published")
    assert published.way_to_get("lab") == 'pip install "d2lcompute[lab]"'
    assert "pypi.org" in published.badges()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_shells_complete_commands(installed, shell):
    prefix = (
        f"import os, sys; os.environ['_D2LCOMPUTE_COMPLETE'] = 'complete_{shell}'; "
        "os.environ['COMP_WORDS'] = os.environ['_TYPER_COMPLETE_ARGS'] = 'd2lcompute re'; "
        "os.environ['COMP_CWORD'] = '1'; os.environ['_TYPER_COMPLETE_WORD_TO_COMPLETE'] = 're'; "
        "os.environ['_TYPER_COMPLETE_FISH_ACTION'] = 'get-args'; sys.argv[0] = 'd2lcompute'"
    )
    finished = installed(prefix=prefix)
    assert {"release", "report"} <= set(re.findall(r"\w+", finished.stdout))


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_has_a_short_name_too(call, flag):
    assert call("run", flag)[:1] == (0,)


def test_the_version_is_shown(call):
    assert call("--version") == (0, "d2lcompute 0.1.0\n", "")


def test_the_lock_of_uv_has_the_tested_versions_and_the_bounds(metadata):
    locked = text_of("uv.lock")
    pins = re.findall(r"^([\w-]+)==([\d.]+)$", text_of("constraints.txt"), re.M)
    assert len(pins) > 10
    for name, version in pins:
        assert f'name = "{name.replace("_", "-")}"\nversion = "{version}"' in locked
    for each in base(metadata):
        assert f'{{ name = "{each.name}", specifier = "{each.specifier}" }}' in locked
    assert set(re.findall(r'registry = "([^"]+)"', locked)) == {"https://pypi.org/simple"}


def test_the_conda_recipe_wants_what_the_wheel_wants(metadata):
    recipe = text_of("conda/meta.yaml")
    assert f'version = "{metadata["Version"]}"' in recipe
    wanted = dict(re.findall(r"^    - ([\w-]+) >=([\d.]+)$", recipe.partition("run:")[2], re.M))
    names = {"torch": "pytorch", "xxhash": "python-xxhash", "matplotlib": "matplotlib-base"}
    bounds = {names.get(each.name, each.name): str(each.specifier) for each in base(metadata)}
    assert {name: f">={bound}" for name, bound in wanted.items() if name != "python"} == bounds
    assert metadata["Requires-Python"] == f">={wanted['python']}"


def test_ready_made_environments_have_the_tested_versions():
    for path in ("environment.yml", ".devcontainer/devcontainer.json", "Dockerfile"):
        assert "constraints.txt" in text_of(path)
        assert "--extra-index-url https://download.pytorch.org/whl/cpu" in text_of(path)
    yaml.safe_load(text_of("environment.yml"))
    yaml.safe_load(text_of(".devcontainer/devcontainer.json"))
