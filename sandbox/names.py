"""Every name a candidate may use, in one list.

The facade is built from it, the coder's prompt quotes it, near-name suggestions search it. Nothing
here is a module: a candidate sees objects that know these names and no others.
"""

from __future__ import annotations


def _names(text: str) -> tuple[str, ...]:
    return tuple(sorted(text.split()))


TORCH_FUNCTIONS = _names("""
    abs absolute acos add addcdiv addcmul all amax amin any arange argmax argmin asin atan atan2
    baddbmm bmm broadcast_tensors broadcast_to cat cdist ceil chunk clamp clamp_max clamp_min clip
    clone concat concatenate cos cosh cumprod cumsum diag_embed diagonal diff div divide dot einsum
    eq erf exp exp2 expm1 eye flatten flip floor floor_divide fmod frac full
    full_like gather ge greater greater_equal gt hstack index_select isfinite isinf isnan
    le lerp less less_equal linspace log log10 log1p log2 log_softmax logical_and
    logical_not logical_or logical_xor logsumexp lt masked_fill matmul max maximum mean median min
    minimum mm movedim mul multiply mv nan_to_num narrow ne neg negative norm not_equal
    numel ones ones_like outer permute pow prod ravel reciprocal relu remainder repeat_interleave
    reshape roll round rsqrt scatter scatter_add select sigmoid sign sin sinh softmax sort split
    sqrt square squeeze stack std sub subtract sum swapaxes swapdims t tan tanh
    tensor tensor_split tile topk transpose tril triu true_divide trunc unbind unflatten unsqueeze
    var vstack where zeros zeros_like
""")

FUNCTIONAL = _names("""
    elu gelu hardsigmoid hardswish hardtanh layer_norm leaky_relu
    log_softmax logsigmoid mish normalize one_hot pairwise_distance relu relu6 selu sigmoid
    silu softmax softmin softplus softsign tanh """)

TENSOR_METHODS = _names("""
    abs absolute add all amax amin any argmax argmin atan atan2 bmm bool ceil chunk clamp
    clamp_max clamp_min clip clone contiguous cos cumprod cumsum diagonal diff dim div divide
    dot eq erf exp expand expand_as expm1 fill_ flatten flip float floor floor_divide fmod frac
    gather ge greater gt index_select int isfinite isinf isnan le lerp less log log10 log1p log2
    log_softmax logical_and logical_not logical_or logical_xor logsumexp long lt masked_fill
    masked_fill_ matmul max maximum mean median min minimum mm movedim mul multiply mv
    nan_to_num narrow ndimension ne neg negative new_full new_ones new_zeros norm numel permute
    pow prod ravel reciprocal relu remainder repeat repeat_interleave reshape reshape_as roll
    round rsqrt scatter scatter_add select sigmoid sign sin size softmax sort split sqrt square
    squeeze std sub subtract sum swapaxes t tanh tile to topk transpose tril triu
    true_divide trunc type_as unbind unflatten unsqueeze var view view_as where zero_
""")

TENSOR_ATTRIBUTES = _names("T device dtype mT ndim shape")

TORCH_DTYPES = _names("bool float float32 float64 double int int32 int64 long")

TORCH_CONSTANTS = _names("e inf nan pi")

LINALG = _names("norm vector_norm")

MATH = _names("""
    acos asin atan atan2 ceil copysign cos cosh e exp expm1 fabs floor fmod hypot inf isclose
    isfinite isinf isnan log log10 log1p log2 nan pi pow radians sin sinh sqrt tan tanh tau trunc
""")

BUILTINS = _names("""
    False None True abs all any bool dict divmod enumerate float int isinstance len list max min
    pow range reversed round set slice sorted sum tuple zip
""")

LIST_METHODS = _names("append copy count extend index insert pop reverse")
DICT_METHODS = _names("copy get items keys update values")

NUMPY: dict[str, str] = {
    **{n: n for n in _names("""
        abs argmax argmin ceil concatenate cos cosh cumsum dot e einsum exp expm1 eye
        floor full full_like hstack inf isfinite isnan linspace log log10 log1p log2 logical_and
        logical_not logical_or matmul maximum mean minimum nan ones ones_like outer pi prod round
        sign sin sinh sqrt square stack sum tan tanh vstack where zeros zeros_like float32 int64
    """)},
    "absolute": "abs", "arange": "arange", "arctan": "atan", "array": "tensor", "asarray": "tensor",
    "amax": "amax", "amin": "amin", "clip": "clamp", "concat": "cat", "divide": "div",
    "expand_dims": "unsqueeze", "max": "amax", "min": "amin", "multiply": "mul", "power": "pow",
    "subtract": "sub", "add": "add", "negative": "neg",
}  # fmt: skip
"""What ``np`` is: numpy's names for torch functions that mean the same. Not here are the names that
both have with another meaning (``std``, ``var``, ``sort``, ``transpose``) or that torch lacks."""

PREBOUND = ("torch", "F", "nn", "math", "np")
"""Names that every candidate finds already there; importing them is tolerated."""

REFUSED_METHODS: dict[str, str] = {
    "item": "stay in tensors; to choose by value use torch.where(condition, a, b)",
    "tolist": "stay in tensors",
    "numpy": "stay in tensors; use the torch function of the same name",
    "data": "use the tensor itself",
    "detach": "use the tensor itself: gradients must reach agent_qs",
    "detach_": "use the tensor itself: gradients must reach agent_qs",
    "requires_grad_": "nothing in a credit function is trained",
    "requires_grad": "nothing in a credit function is trained",
    "backward": "the trainer computes the gradients",
    "grad": "the trainer computes the gradients",
    "register_hook": "hooks are not allowed; compute the value in the function itself",
    "cuda": "leave out the device; results follow the inputs",
    "cpu": "leave out the device; results follow the inputs",
    "uniform_": "a credit function is deterministic; use fixed numbers",
    "normal_": "a credit function is deterministic; use fixed numbers",
    "random_": "a credit function is deterministic; use fixed numbers",
    "double": "credit functions are float32 throughout; write `.float()`, or nothing",
    "half": "credit functions are float32 throughout; write `.float()`, or nothing",
    "nonzero": "its size depends on values; use torch.where(mask, x, other)",
    "argsort": "write x.sort(dim=1).indices",
    "unique": "its size depends on values; compare with == instead",
    "masked_select": "its size depends on values; use torch.where(mask, x, other)",
}
"""Tensor members that are refused, each with what to write instead."""

REFUSED_TORCH: dict[str, str] = {
    "rand": "a credit function is deterministic; use fixed numbers",
    "randn": "a credit function is deterministic; use fixed numbers",
    "rand_like": "a credit function is deterministic; use fixed numbers",
    "randn_like": "a credit function is deterministic; use fixed numbers",
    "randint": "a credit function is deterministic; use fixed numbers",
    "pdist": "write pairwise_distance(a, b)",
    "randperm": "a credit function is deterministic; use fixed numbers",
    "bernoulli": "a credit function is deterministic; use fixed numbers",
    "normal": "a credit function is deterministic; use fixed numbers",
    "manual_seed": "a credit function is deterministic and draws nothing",
    "empty": "its contents are undefined; use torch.zeros",
    "empty_like": "its contents are undefined; use torch.zeros_like",
    "nonzero": "its size depends on values; use torch.where(mask, x, other)",
    "argsort": "write x.sort(dim=1).indices",
    "unique": "its size depends on values; compare with == instead",
    "masked_select": "its size depends on values; use torch.where(mask, x, other)",
    "load": "a credit function reads nothing but its arguments",
    "save": "a credit function returns its result and writes nothing",
    "no_grad": "gradients must reach agent_qs",
    "from_numpy": "stay in tensors from the start: there is nothing to convert",
    "as_tensor": "the arguments are tensors already",
    "device": "leave out the device; results follow the inputs",
    "cuda": "leave out the device; results follow the inputs",
    "jit": "leave it out; the trainer does that",
    "autograd": "leave it out; the trainer computes the gradients",
    "compile": "the trainer does that",
    "nn": "only torch.nn.functional is available, and nothing is trained: write fixed numbers "
    "instead of layers and parameters, or compute them from the state",
}


HELPERS: dict[str, tuple[str, str]] = {
    "pairwise_distance": ("pairwise_distance(a, b)", "[B, n, 2] and [B, m, 2] give [B, n, m]"),
    "length": ("length(vectors)", "[B, n, 2] gives [B, n]"),
    "near": ("near(distance, scale)", "1 at 0, less with distance; any shape"),
    "nearest": ("nearest(distance, valid)", "the smallest: [B, n, m] gives [B, n]"),
    "furthest": ("furthest(distance, valid)", "the largest: [B, n, m] gives [B, n]"),
    "at_nearest": (
        "at_nearest(distance, values, valid)",
        "the nearest thing's value: [B, n, m] and [B, m] give [B, n]",
    ),
    "share": ("share(x)", "each one's part of the sum, 0 to 1: [B, n] gives [B, n]"),
    "fraction_of": ("fraction_of(x, whole)", "x / whole, held to 0 to 1; any shape"),
    "scaled": ("scaled(x, low, high)", "low to high brought to 0 to 1; any shape"),
    "where_valid": (
        "where_valid(x, valid, other)",
        "x where valid, else other: [B, n, m] and valid [B, m] give [B, n, m]",
    ),
    "count": ("count(valid)", "how many: [B, m] gives [B, 1], [B, n, m] gives [B, n]"),
    "masked_mean": ("masked_mean(x, valid)", "mean of the valid: [B, n, m] gives [B, n]"),
    "others_mean": ("others_mean(x)", "mean of all other agents: [B, n] gives [B, n]"),
    "soft_min": ("soft_min(x, temperature)", "smooth minimum: [B, n] gives [B, 1]"),
    "soft_max": ("soft_max(x, temperature)", "smooth maximum: [B, n] gives [B, 1]"),
}
"""The helpers of `sandbox.helpers`, by name: how each is called, and what it gives."""


def names_for_prompt() -> str:
    """The names that credit functions mostly need, as a text block for the coder's prompt.

    A refusal of another name says what there is in its place.
    """
    return "\n".join(
        [
            "  + - * / ** == != < <= > >= & | ~, x[:, 0], x[:, :, None]",
            *(f"  {title} {' '.join(listed)}" for title, listed in _ESSENTIALS),
            "Ready to call (n agents, m things; never infinite, whatever they are given):",
            *(f"  {call}  {gives}" for call, gives in HELPERS.values()),
        ]
    )


_ESSENTIALS = (
    (
        "torch.*",
        _names("""where abs clamp minimum maximum exp log1p sqrt sigmoid tanh softmax stack cat
               zeros ones full zeros_like ones_like arange sign"""),
    ),
    (
        "methods, all with dim=1 or later:",
        _names("sum mean amax amin prod any all norm softmax argmax argmin"),
    ),
    (
        "methods:",
        _names("float long abs clamp unsqueeze squeeze reshape expand transpose"),
    ),
)
