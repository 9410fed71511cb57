import importlib
import importlib.util
import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import d2lcompute as d2c

with_the_book = pytest.mark.skipif(
    importlib.util.find_spec("d2l") is None,
    reason="the book's package d2l is not installed: pip install --no-deps d2l==1.0.3",
)


def loaded():
    return [
        name
        for name in sys.modules
        if name.partition(".")[0] in ("d2l", "torchvision") or name == "d2lcompute.d2l"
    ]


@pytest.fixture
def import_d2l(monkeypatch, tmp_path):
    """Import `d2lcompute.d2l` afresh, with packages of the test's own in front of the real ones."""
    for name in loaded():
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(d2c, "d2l", raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    def fresh(**packages):
        for name, source in packages.items():
            path = tmp_path.joinpath(*name.split("__"), "__init__.py")
            path.parent.mkdir(parents=True)
            path.write_text(source, encoding="utf-8")
        importlib.invalidate_caches()
        return importlib.import_module("d2lcompute.d2l")

    yield fresh
    vars(d2c).pop("d2l", None)
    for name in loaded():
        del sys.modules[name]


BOOK = {"d2l": "", "d2l__torch": "import torchvision\nfrom torchvision import transforms\n"}
BROKEN = {
    "missing": "raise ModuleNotFoundError(\"No module named 'torchvision'\", name='torchvision')",
    "built for another torch": "raise RuntimeError('operator torchvision::nms does not exist')",
    "without its libraries": "raise OSError('libcudart.so.12: cannot open shared object file')",
}
WORKING = {
    "torchvision": "from . import transforms",
    "torchvision__transforms": "class Resize: ...",
}


def test_the_module_is_the_books_own(import_d2l):
    book = import_d2l(**BOOK, **WORKING)
    assert book is sys.modules["d2l.torch"]
    assert importlib.import_module("d2lcompute").d2l is book


def test_a_working_torchvision_is_the_one_that_is_used(import_d2l):
    book = import_d2l(**BOOK, **WORKING)
    assert book.torchvision is sys.modules["torchvision"]
    assert book.transforms is sys.modules["torchvision.transforms"]
    assert book.transforms.Resize.__module__ == "torchvision.transforms"


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_a_torchvision_that_does_not_work_is_an_error_only_when_used(import_d2l, source):
    book = import_d2l(**BOOK, torchvision=source)
    for use in (lambda: book.torchvision.datasets, lambda: book.transforms.Compose):
        with pytest.raises(
            ImportError, match=r"`torchvision\.\S+` must .* got .*Error: .*; do inst"
        ):
            use()


def test_the_stand_in_stays_inside_the_book(import_d2l):
    import_d2l(**BOOK, torchvision=BROKEN["built for another torch"])
    assert not [name for name in sys.modules if name.startswith("torchvision")]
    with pytest.raises(RuntimeError, match="nms does not exist"):
        importlib.import_module("torchvision")


def test_a_module_that_was_there_before_is_there_afterwards(import_d2l, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    import_d2l(**BOOK)
    assert sys.modules["torchvision"] is None


def test_torchvision_installed_later_is_found_without_a_restart(import_d2l, tmp_path):
    book = import_d2l(**BOOK, torchvision=BROKEN["missing"])
    (tmp_path / "torchvision" / "__init__.py").write_text("import os\nthe_answer = 'forty-two'\n")
    importlib.invalidate_caches()
    assert book.torchvision.the_answer == "forty-two"


@pytest.mark.parametrize(
    ("version", "command"),
    [((3, 11), r'pip install "\.\[d2l\]" in a copy'), ((3, 12), "--no-deps d2l==1.0.3, then pip")],
)
def test_without_the_book_the_error_says_how_to_install_it(
    import_d2l, monkeypatch, version, command
):
    monkeypatch.setitem(sys.modules, "d2l", None)
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    with pytest.raises(ModuleNotFoundError, match=rf"`d2l` must be installed .*; do .*{command}"):
        import_d2l()


@pytest.mark.parametrize(("module", "package"), [("PIL", "pillow"), ("scipy", "scipy")])
def test_what_the_book_imports_and_is_missing_is_named_as_pip_names_it(
    import_d2l, monkeypatch, module, package
):
    monkeypatch.setitem(sys.modules, module, None)
    book = {"d2l": "", "d2l__torch": f"import {module}"}
    with pytest.raises(ModuleNotFoundError, match=f"; do pip install {package}$"):
        import_d2l(**book)


def test_importing_this_package_does_not_import_the_books():
    code = "import sys, d2lcompute; sys.exit('d2l' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def d2l():
    return importlib.import_module("d2lcompute.d2l")


@pytest.fixture
def task(d2l):
    """A net wrapped as the book does it, and 64 examples with a label it can learn."""

    class Task(d2l.Classifier):
        def __init__(self, net, lr):
            super().__init__()
            self.save_hyperparameters()
            self.board.display = False

    class Data(d2l.DataModule):
        def __init__(self, batch_size=16):
            super().__init__()
            self.save_hyperparameters()
            self.X = torch.randn(64, 20)
            self.y = (self.X[:, 0] > 0).long()

        def get_dataloader(self, train):
            return self.get_tensorloader((self.X, self.y), train)

    return lambda net: (Task(net, lr=0.5), Data())


NETS = {
    "MLP": lambda: d2c.MLP(32, 2),
    "MySequential": lambda: d2c.MySequential(d2c.mlp(32, 16), nn.ReLU(), nn.LazyLinear(2)),
    "own layers": lambda: nn.Sequential(
        d2c.MyDense(32, 20), d2c.CenteredLayer(), d2c.MyLinear(32, 8), nn.Linear(8, 2)
    ),
    "NestMLP": lambda: nn.Sequential(d2c.NestMLP(), nn.Linear(16, 2)),
}


@with_the_book
@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_our_blocks_train_under_the_books_trainer(d2l, task, make):
    model, data = task(make())
    model(data.X)  # the lazy ones get their shape, as the book's trainer wants it
    before = [p.detach().clone() for p in model.parameters()]
    d2l.Trainer(max_epochs=1, gradient_clip_val=1).fit(model, data)
    moved = [not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True)]
    assert any(moved)
    assert model.board.data["val_loss"][-1].y < model.board.data["train_loss"][0].y


@with_the_book
def test_the_book_knows_every_accelerator_that_torch_knows(d2l, practice):
    assert (d2l.num_gpus(), d2l.gpu(1)) == (2, practice[1])
    assert [d2l.try_gpu(), d2l.try_gpu(1), d2l.try_gpu(2)] == [*practice, d2l.cpu()]
    assert d2l.try_all_gpus() == practice
    d2c.practice_gpus(0)
    assert d2l.num_gpus() == d2c.num_gpus()
    assert d2l.try_gpu() == d2c.try_gpu()


@with_the_book
def test_the_books_trainer_trains_on_a_practice_device(d2l, task, practice):
    model, data = task(d2c.MLP(32, 2))
    trainer = d2l.Trainer(max_epochs=1, num_gpus=1)
    trainer.fit(model, data)
    assert trainer.gpus == [practice[0]]
    assert d2c.device_of(model) == practice[0]
    assert len(model.board.data["val_acc"]) == 1


@with_the_book
def test_the_books_linear_regression_finds_its_weights(d2l):
    data = d2l.SyntheticRegressionData(torch.tensor([2.0, -3.4]), b=4.2)
    model = d2l.LinearRegression(lr=0.05)
    model.board.display = False
    d2l.Trainer(max_epochs=3).fit(model, data)
    w, b = model.get_w_b()
    assert_close(w, torch.tensor([[2.0, -3.4]]), rtol=0, atol=0.1)
    assert_close(b, torch.tensor([4.2]), rtol=0, atol=0.1)


@with_the_book
def test_the_books_small_tools_work_on_this_stack(d2l):
    assert d2l.accuracy(torch.eye(3), torch.tensor([0, 1, 0])) == 2
    assert d2l.Vocab(list("aab"))["a"] == d2l.Vocab(list("aab")).token_to_idx["a"]
    assert d2l.TransformerEncoder(20, 24, 48, 8, 2, 0.5).eval()(
        torch.ones(2, 10, dtype=torch.long), torch.tensor([3, 2])
    ).shape == (2, 10, 24)
    assert d2l.rbfkernel(torch.arange(3.0), torch.arange(3.0)).shape == (3, 3)


@with_the_book
def test_the_board_draws_in_a_plain_script(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from d2lcompute import d2l\n"
        "import torch\n"
        "data = d2l.SyntheticRegressionData(torch.ones(2), 1.0, num_train=64, num_val=64)\n"
        "model = d2l.LinearRegression(lr=0.1)\n"
        "d2l.Trainer(max_epochs=1).fit(model, data)\n"
        "d2l.plot(torch.arange(3.0), [torch.arange(3.0)], 'x', 'y', legend=['line'])\n"
        "model.board.fig.savefig('board.png')\n",
        encoding="utf-8",
    )
    quiet = {"MPLBACKEND": "agg", "IPYTHONDIR": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)}
    subprocess.run([sys.executable, script], check=True, cwd=tmp_path, env=os.environ | quiet)
    assert (tmp_path / "board.png").stat().st_size > 1000
