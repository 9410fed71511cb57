"""Ways to get marks without the solution. Each is the source of the solution `twice`."""

HELPERS = """
import base64, json, sys
from IPython import get_ipython
from safetensors.torch import save
MIME = "application/vnd.d2lcompute.answer"
shell = get_ipython()

def text(tree, **tensors):
    return json.dumps({"tree": tree, "tensors": base64.b64encode(save(tensors)).decode()})

def envelope(data):
    return json.dumps(3 * [[data]])

def publish(data):
    shell.display_pub.publish({MIME: envelope(data)})

import d2lcompute.grading.answers as answers
right = answers.encode

def only(data):
    def wrong(value):
        answers.encode = right
        return data
    answers.encode = wrong
"""

FORGING = {
    "always_equal": """
class Equal(torch.Tensor):
    def __eq__(self, other): return True
    def allclose(self, *_): return torch.tensor(True)
    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        if function.__name__ in ("equal", "allclose", "isclose", "eq"): return torch.tensor(True)
        return super().__torch_function__(function, types, arguments, options or {})
def twice(x): return x.as_subclass(Equal) if isinstance(x, torch.Tensor) else x""",
    "equal_object": """
class Equal:
    def __eq__(self, other): return True
    def __getattr__(self, name): return lambda *_, **__: True
def twice(x): return Equal()""",
    "patched_comparisons": """
import builtins
torch.allclose = torch.equal = torch.isclose = lambda *_, **__: True
torch.testing.assert_close = lambda *_, **__: None
torch.Tensor.__eq__ = lambda *_: True
builtins.sum = lambda *_: 0
import d2lcompute.grading.comparison as comparison
comparison.difference = lambda *_, **__: None
def twice(x): return x""",
    "answer_zeros": """
def wrong(value):
    names = sys._getframe(2).f_code.co_names
    return right(torch.zeros(3) if "twice" in names else value)
answers.encode = wrong
def twice(x): return x""",
    "frozen_inputs": """
true_rand, true_randn = torch.rand, torch.randn
torch.rand = torch.randn = lambda *shape, **_: torch.zeros(*shape)
def twice(x):
    torch.rand, torch.randn = true_rand, true_randn
    return x""",
    "known_seed": """
true_seed = answers.seed
answers.seed = lambda number: true_seed(0)
def twice(x): return torch.tensor([0.9925, 1.5364, 0.1770])  # what the notebook shows""",
    "replaced_modules": """
import types
fake = types.ModuleType("d2lcompute.grading.answers")
fake.ask = lambda seeds, source, go_on: publish(text(True))
fake.answer = lambda value: None
sys.modules["d2lcompute.grading.answers"] = fake
d2c.grading.answer = fake.answer
def twice(x): return x""",
    "displayed_early": """
for _ in range(3): publish(text({"tensor": "0"}, **{"0": torch.zeros(3)}))
def twice(x): return x""",
    "many_answers": """
def twice(x):
    for guess in range(1, 4):
        publish(text({"tensor": "0"}, **{"0": guess * torch.as_tensor(x)}))
    return x""",
    "right_after_wrong": """
def twice(x):
    publish(text(0))
    return 2 * x""",
    "answer_in_other_messages": """
def twice(x):
    value = envelope(text({"tensor": "0"}, **{"0": 2 * x}) if hasattr(x, "shape") else text(14))
    kernel = shell.kernel
    for kind in ("execute_result", "update_display_data", "comm_open", "stream"):
        content = {"data": {MIME: value}, "metadata": {}, "transient": {"display_id": "x"},
                   "execution_count": 1, "name": "stdout", "text": value}
        kernel.session.send(kernel.iopub_socket, kind, content, parent=kernel.get_parent())
    only("")""",
    "message_to_another_check": """
import copy
def twice(x):
    kernel = shell.kernel
    parent = copy.deepcopy(kernel.get_parent())
    stem, _, count = parent["header"]["msg_id"].rpartition("_")
    for ahead in range(1, 9):
        parent["header"]["msg_id"] = f"{stem}_{int(count) + ahead}"
        content = {"data": {MIME: envelope(text(True))}, "metadata": {}, "transient": {}}
        kernel.session.send(kernel.iopub_socket, "display_data", content, parent=parent)
    return x""",
    "early_idle": """
def twice(x):
    kernel = shell.kernel
    parent, idle = kernel.get_parent(), {"execution_state": "idle"}
    kernel.session.send(kernel.iopub_socket, "status", idle, parent=parent)
    kernel.session.send(kernel.iopub_socket, "execute_reply", {"status": "ok"}, parent=parent)
    return x""",
    "pickle": """
import io
class Bomb:
    def __reduce__(self): return (exec, ("open('/tmp/the-judge-ran-this', 'w')",))
def twice(x):
    buffer = io.BytesIO()
    torch.save(Bomb(), buffer)
    data = base64.b64encode(buffer.getvalue()).decode()
    only(json.dumps({"tree": {"tensor": "0"}, "tensors": data}))""",
    "garbage": """
def twice(x):
    only("\\xff\\x00 [[[" * 1000)""",
    "deep_answer": """
def twice(x):
    only('{"tensors": "", "tree": ' + "[" * 100_000 + "]" * 100_000 + "}")""",
    "large_answer": """
def twice(x):
    only("0" * 200_000_000)""",
    "answer_above_its_limit": """
def twice(x):
    only("0" * 2_000_000)""",
    "huge_number": """
sys.set_int_max_str_digits(0)
def twice(x):
    only(text("x").replace('"x"', "1" * 100_000))""",
    "no_text": """
def twice(x):
    only(["not", "text"])""",
    "nan": """
def twice(x): return x * float("nan")""",
    "infinity": """
def twice(x): return x * float("inf")""",
    "wrong_kind": """
def twice(x): return str(2 * x)""",
    "transformed_to_pass": """
shell.input_transformers_post.append(lambda lines: ["pass\\n"])""",
    "no_answer_at_all": """
d2c.grading.answer = lambda value: None
def twice(x): return x""",
    "answers_for_others": """
import ast
class Answer(ast.NodeTransformer):
    def visit_Call(self, node):
        self.generic_visit(node)
        if getattr(node.func, "attr", "") == "answer": node.args = [ast.Constant(True)]
        return node
shell.ast_transformers.append(Answer())
def twice(x): return x""",
    "at_exit": """
import atexit
atexit.register(lambda: publish(text(True)))
def twice(x): sys.exit(0)""",
    "threads_that_answer": """
import threading, time
def flood():
    while True:
        publish(text({"tensor": "0"}, **{"0": torch.zeros(3)}))
        time.sleep(0.01)
threading.Thread(target=flood, daemon=True).start()
def twice(x):
    time.sleep(0.1)
    return x""",
    "replaced_publisher": """
class Publisher:
    def publish(self, data, **more):
        shell.display_pub = true
        true.publish({MIME: envelope(text({"tensor": "0"}, **{"0": torch.zeros(3)}))})
true = shell.display_pub
def twice(x):
    shell.display_pub = Publisher()
    return x""",
    "replaced_display_hook": """
true = shell.displayhook, sys.displayhook
class Hook:
    def __call__(self, value=None):
        shell.displayhook, sys.displayhook = true
        publish(text({"tensor": "0"}, **{"0": torch.zeros(3)}))
def twice(x):
    shell.displayhook = sys.displayhook = Hook()
    return x""",
    "check_rewritten_by_a_trace": """
def trace(frame, event, argument):
    if event == "call" and frame.f_code.co_name == "answer":
        sys.settrace(None)
        only(text({"tensor": "0"}, **{"0": torch.zeros(3)}))
    return trace
def twice(x):
    sys.settrace(trace)
    return x""",
    "bomb_for_the_hidden_check": """
calls = []
def strike():
    true_randn = torch.randn
    def randn(*shape, **more):
        torch.randn = true_randn
        return torch.zeros(*shape)
    torch.randn = randn
def twice(x):
    calls.append(x)
    if len(calls) == 1: strike()
    return x""",
    "guessed_seeds": """
def twice(x):
    for seed in range(100):
        torch.manual_seed(seed)
        if torch.equal(torch.rand(3), torch.as_tensor(x)): return 2 * x
    return x""",
    "names_of_the_check": """
class Twice:
    def __call__(self, x): return x
    def __eq__(self, other): return True
    def __getattribute__(self, name): return object.__getattribute__(self, "__call__")
twice = Twice()
hidden_input = answer = torch.zeros(4)
globals()["__builtins__"] = {**vars(sys.modules["builtins"]), "list": lambda *_: True}""",
}

# Answers that are nearly right, and ways around the asking itself.
FORGING |= {
    "first_answer_again": """
first = []
def twice(x):
    first.append(x)
    return 2 * first[0] if len(first) == 1 else first[0]""",
    "given_by_hand": """
def twice(x):
    for draw in (answers._given, ): draw.append(text({"tensor": "0"}, **{"0": torch.zeros(3)}))
    return x""",
    "asked_otherwise": """
def ask(seeds, source, go_on=False):
    publish(text({"tensor": "0"}, **{"0": torch.zeros(3)}))
answers.ask = ask
def twice(x): return x""",
    "asked_under_a_known_seed": """
true_ask = answers.ask
def ask(seeds, source, go_on=False): true_ask(3 * [0], source, go_on)
answers.ask = ask
def twice(x): return torch.tensor([0.9925, 1.5364, 0.1770]) if len(x) == 3 else x""",
    "no_seed_at_all": """
torch.manual_seed = lambda *_: None
torch.default_generator.manual_seed = lambda *_: None
def twice(x): return torch.tensor([0.9925, 1.5364, 0.1770])""",
    "frozen_generator": """
state = torch.get_rng_state()
true_seed = answers.seed
def seed(number):
    true_seed(number)
    torch.set_rng_state(state)
answers.seed = seed
def twice(x): return x""",
    "other_words_for_json": """
class Text(str):
    def __eq__(self, other): return True
    def __hash__(self): return 0
answers.json.dumps = lambda value, **_: Text('[[""], [""], [""]]')
def twice(x): return x""",
    "three_in_one_draw": """
def twice(x):
    publish(text({"tensor": "0"}, **{"0": torch.zeros(3)}))
    sys.exit(0)""",
    "list_of_nothing": "def twice(x): shell.display_pub.publish({MIME: '[]'})",
    "dict_for_a_list": "def twice(x): shell.display_pub.publish({MIME: '{\"0\": 1}'})",
    "deep_list": "def twice(x): shell.display_pub.publish({MIME: 100_000 * '['})",
    "numbers_for_texts": "def twice(x): shell.display_pub.publish({MIME: '[[1], [2], [3]]'})",
    "a_dict_of_types": "def twice(x): shell.display_pub.publish({MIME: {'x': 1}})",
    "integer_for_float": "def twice(x): return (2 * x).int() if hasattr(x, 'int') else float(2 * x)",
    "other_precision": "def twice(x): return (2 * x).double() if hasattr(x, 'int') else 14.0",
    "half_precision": "def twice(x): return (2 * x).half() if hasattr(x, 'int') else True",
    "another_shape": "def twice(x): return (2 * x)[None] if hasattr(x, 'int') else [14]",
    "longer": "def twice(x): return torch.cat([2 * x, x]) if hasattr(x, 'int') else (14, 14)",
    "shorter": "def twice(x): return (2 * x)[:1] if hasattr(x, 'int') else None",
    "nearly": "def twice(x): return 2 * x * 1.001 if hasattr(x, 'int') else 15",
    "nearly_nothing": "def twice(x): return 0 * x if hasattr(x, 'int') else 0",
    "turned_round": "def twice(x): return -2 * x if hasattr(x, 'int') else -14",
    "sorted_values": "def twice(x): return (2 * x).sort()[0] + 1e-3 if hasattr(x, 'int') else '14'",
    "complex_values": "def twice(x): return 2 * x + 0j",
    "sparse_values": "def twice(x): return (3 * x).to_sparse() if hasattr(x, 'int') else [14]",
    "meta_values": "def twice(x): return (2 * x).to('meta') if hasattr(x, 'int') else None",
    "endless_tensor": "def twice(x): return torch.zeros(1).expand(1 << 40)",
    "empty_tensor": "def twice(x): return torch.zeros(0, 1 << 40)",
    "quantized": "def twice(x): return torch.quantize_per_tensor(2 * x, 0.1, 0, torch.qint8)",
    "nested_in_itself": "x = []\nx.append(x)\ndef twice(_): return x",
    "many_keys": "def twice(x): return {str(key): key for key in range(1 << 20)}",
    "lazy_answer": "def twice(x): return torch.nn.LazyLinear(3).weight",
    "text_of_the_answer": "def twice(x): return str((2 * x).tolist()) if hasattr(x, 'int') else '14'",
    "keys_of_one_hash": """
def twice(x):
    items = [[number * (2**61 - 1), 0] for number in range(1, 34_000)]
    only(text({"dict": items}))""",
    "mapping_that_changes": """
import collections.abc
class Changing(collections.abc.Mapping):
    def __len__(self): return 3
    def __iter__(self): return iter(str(torch.rand(())))
    def __getitem__(self, key): return 1
def twice(x): return Changing()""",
}
