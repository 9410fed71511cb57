"""What notebooks compute and print, and ways in which another machine would round differently."""

import contextlib
import functools
import io
import json
import os
import subprocess
import sys

import numpy as np
import torch
from torch import nn

# The order of the data, the library that multiplies, how many threads, and for which processor.
ORDINARY = "as it comes"
WAYS = {
    ORDINARY: ("forward", "torch", None, {}),
    "another order of summation": ("backward", "torch", None, {}),
    "one thread": ("forward", "torch", 1, {}),
    "another BLAS": ("forward", "numpy", None, {}),
    "an older processor": (
        "forward",
        "torch",
        None,
        {
            "ATEN_CPU_CAPABILITY": "default",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
            "MKL_CBWR": "COMPATIBLE",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "OPENBLAS_CORETYPE": "Nehalem",
        },
    ),
}


@functools.cache
def printed(way, seed=0):
    """Return what each function below prints when it is computed in a way of `WAYS`."""
    variables = WAYS[way][3]
    if not variables:
        return compute(way, seed)
    done = subprocess.run(
        [sys.executable, __file__, way, str(seed)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def compute(way, seed):
    order, library, threads, _ = WAYS[way]
    usual = torch.get_num_threads()
    torch.set_num_threads(threads or usual)
    try:
        return _compute(order, library, seed)
    finally:
        torch.set_num_threads(usual)


def _compute(order, library, seed):
    def put(data):
        """The same rows in this way's order."""
        return data.flip(0) if order == "backward" else data

    def multiply(A, B):
        if library == "torch":
            return A @ B
        return torch.from_numpy(A.detach().numpy() @ B.detach().numpy())

    def draw(*shape, dtype=torch.float32):
        return torch.randn(*shape, dtype=dtype)

    def sums():
        X = put(draw(100_000))
        print("sum", X.sum(), "mean", X.mean(), "deviation", X.std())
        print(f"mean {X.mean():.6f}, deviation {X.std():.4f}, norm {X.norm():.3f}")

    def product():
        A, B = draw(6, 2000), draw(2000, 4)
        if order == "backward":
            A, B = A.flip(1), B.flip(0)
        print(multiply(A, B))

    def training():
        X, y = draw(400, 20), draw(400, 1)
        X, y = put(X), put(y)
        net = nn.Sequential(nn.Linear(20, 64), nn.Tanh(), nn.Linear(64, 1))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for epoch in range(1, 31):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(X), y)
            loss.backward()
            optimizer.step()
            if epoch % 5 == 0:
                print(f"epoch {epoch:2d}  loss {loss.item():.4f}  gradient {_norm(net):.5f}")
        print([round(loss.item(), 4), loss.item()])

    def _norm(net):
        return sum(parameter.grad.square().sum() for parameter in net.parameters()).sqrt().item()

    def adam():
        X, y = draw(256, 10), torch.randint(0, 3, (256,))
        X, y = put(X), put(y)
        net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        for step in range(1, 21):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(X), y)
            loss.backward()
            optimizer.step()
            right = (net(X).argmax(1) == y).float().mean()
            print(f"| {step:>4} | {loss.item():>8.4f} | {100 * right:>6.2f} % |")

    def layer():
        net = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 5))
        print(put(net(put(draw(3, 512))).detach()))

    def normalized():
        norm = nn.BatchNorm1d(8)
        Y = norm(put(draw(1000, 8) * 3 + 5))
        print(norm.running_mean, norm.running_var)
        print(torch.stack([Y.mean(0), Y.std(0)]))

    def orthogonal():
        Q = torch.linalg.qr(draw(6, 6))[0]
        print(multiply(Q.T, Q))
        Q64 = np.linalg.qr(draw(4, 4, dtype=torch.float64).numpy())[0]
        print(Q64.T @ Q64)

    def two_ways():
        X, W = draw(50, 300), draw(300, 8)
        one, other = multiply(X, W), torch.einsum("nd,dk->nk", X.flip(1), W.flip(0))
        print(f"largest difference {(one - other).abs().max():.4e} of {one.abs().max():.4f}")
        print("close:", torch.allclose(one, other, atol=1e-4))

    def probabilities():
        P = torch.softmax(multiply(draw(4, 100), draw(100, 6)) / 10, 1)
        print(P)
        print(P.sum(1), -(P * P.log()).sum(1))

    def table():
        X = put(draw(500, 3, dtype=torch.float64)).numpy()
        Z = (X - X.mean(0)) / X.std(0, ddof=1)
        print("              a             b             c")
        for name, values in (
            ("count", [500.0] * 3),
            ("mean ", Z.mean(0)),
            ("std  ", Z.std(0, ddof=1)),
            ("min  ", Z.min(0)),
            ("max  ", Z.max(0)),
        ):
            print(name, *(f"{value: .6e}" for value in values))

    def regression():
        X, noise = draw(200, 4, dtype=torch.float64), draw(200, 1, dtype=torch.float64)
        y = X @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]], dtype=torch.float64) + noise / 10
        X, y = put(X).numpy(), put(y).numpy()
        found, rest, rank, values = np.linalg.lstsq(X, y, rcond=None)
        print("coefficients", found.ravel().tolist())
        print("rest", rest, "rank", rank, "singular values", values)

    def spectrum():
        A = draw(40, 40, dtype=torch.float64)
        values = torch.linalg.eigvalsh(multiply(A, A.T))
        print(values[-6:], values[-1].item())
        with np.printoptions(precision=4):
            print(np.cov(put(draw(300, 3, dtype=torch.float64)).numpy().T))

    def convolution():
        net = nn.Conv2d(3, 4, 3)
        Y = net(draw(1, 3, 16, 16))
        print(Y.mean((0, 2, 3)), Y[0, 0, :2, :4])

    def short():
        A, B = draw(100, 400), draw(400, 200)
        if order == "backward":
            A, B = A.flip(1), B.flip(0)
        for row in multiply(A, B) / 20:
            print(" ".join(f"{value:.2f}" for value in row.tolist()))

    found = {}
    for function in (
        sums, product, training, adam, layer, normalized, orthogonal, two_ways, probabilities,
        table, regression, spectrum, convolution, short,
    ):  # fmt: skip
        torch.manual_seed(100 * seed + len(found))
        usual_digits = np.printoptions(precision=8)  # whatever another test has left
        with usual_digits, contextlib.redirect_stdout(io.StringIO()) as output:
            function()
        found[function.__name__] = output.getvalue()
    return found


if __name__ == "__main__":
    print(json.dumps(compute(sys.argv[1], int(sys.argv[2]))))
