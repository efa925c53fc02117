"""SweepSpec: one YAML file as a frozen value, its blocks, and which hyperparameter each key sets.

Type, range and default of a hyperparameter have one home, `trainers.config.RunConfig`; `Like("width")` borrows them. So
the keys of a block, the axes of a grid and `--set` are all held to the same rules, and PLACES, which says where in a
spec a hyperparameter stands, is read off the blocks. What involves several fields is checked in `orchestrator.checks`.
"""

import functools
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from orchestrator.errors import KeyPath
from orchestrator.spec_values import (
    Betas,
    Engine,
    FeatureColumns,
    Filter,
    Like,
    MarginalOf,
    Operation,
    PhaseSize,
    Seeds,
    Sets,
    Steps,
    Subsets,
    TargetColumns,
    TrainSize,
    TrainSizeBefore,
    Values,
    as_tuple,
)
from orchestrator.wording import faults_of
from trainers.config import (
    CODE,
    DEFAULT_SCHEDULE,
    DEFAULTS,
    FOUND_IN_DATA,
    OBSERVED,
    WHEREABOUTS,
    Count,
    NonNegative,
    RunConfig,
    Seed,
)
from trainers.members import RANDOM, Member, parse_members, write_members

MAX_RUNS = 10_000_000
MAX_AXIS = 1_000_000
"""Values of one axis."""
AXIS_NAMES = (
    *(name for name in RunConfig.model_fields if name not in WHEREABOUTS.union(FOUND_IN_DATA, OBSERVED, CODE)),
    "betas",
)


class Block(BaseModel):
    """A mapping in a spec: keys are known, types strict, values frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class MemberBlock(Block):
    """One task of a mixture. `addition: a + b` is short for `addition: {op: a + b}`, and `memory: random on 3000` for
    `memory: {kind: random_labels, train_size: 3000}`."""

    kind: Literal["modular", "random_labels"] = "modular"
    op: str | None = None
    """The operation of a modular member."""
    train_size: Count | None = None
    """Training examples; absent: the train_size of the run."""


def _members(value: Any) -> str:
    """From a mapping, or from what became of one."""
    try:
        if isinstance(value, str):
            return write_members(parse_members(value))
        if not isinstance(value, dict):
            raise ValueError("should map names to operations, as {addition: a + b, memory: {kind: random_labels}}")
        text = write_members([_member(str(name), written) for name, written in value.items()])
        return write_members(parse_members(text))
    except ValueError as error:
        raise PydanticCustomError("members", "{problem}", {"problem": str(error)}) from None


def _member(name: str, written: Any) -> Member:
    try:
        block = MemberBlock.model_validate({"op": written} if isinstance(written, str) else written)
    except ValidationError as error:
        fault = faults_of(error, MemberBlock)[0]
        raise ValueError(f"{'.'.join(map(str, (name, *fault.path)))}: {fault.message}") from None
    if (block.kind == "modular") == (block.op is None):
        raise ValueError(f"{name}: give it an operation, or `kind: random_labels`; one of the two")
    return Member(name, block.op or RANDOM, block.train_size)


_MEMBERS_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, MemberBlock.model_json_schema()]}},
    ]
}
Members = Annotated[str, PlainValidator(_members), WithJsonSchema(_MEMBERS_SCHEMA), Sets("members")]


class TaskBlock(Block):
    """What is learned. `task: a + b` is short for `task: {op: a + b}`."""

    kind: Annotated[str, Like("task_kind")] = DEFAULTS["task_kind"]
    """modular (an operation on pairs over Z_p), permutations (one on pairs of permutations), toy_addition (Liu et al.
    2022), random_labels (no rule at all), mixture (several in one network), sparse_parity (a few of many bits), images
    (a folder of the user's), data (a file of the user's), teacher_student (a regression onto a random network,
    Omnigrok), code (what `task` of the user's Python file makes), or sequences of Nanda et al. 2023: digit_addition,
    repeated_subsequence, skip_trigram."""
    op: Operation = DEFAULTS["task"]
    """The operation on a and b over Z_p, or on permutations; random_labels, mixture and images have none."""
    members: Members = ""
    """mixture only: {addition: {op: a + b, train_size: 3000}, memory: {kind: random_labels}}, each with an operator of
    its own. A member without train_size has the train_size of the run. Only members with a rule are validated on."""
    modulus: Annotated[int, Like("modulus")] = DEFAULTS["modulus"]
    symbols: Annotated[int, Like("symbols")] = DEFAULTS["symbols"]
    subsets: Subsets = ""
    """Parts of the table by name, for metrics of their own: {zero: a == 0, one: b == 1}. `rest` is what they leave."""
    symmetric: Annotated[bool, Like("symmetric")] = DEFAULTS["symmetric"]
    marginal_of: MarginalOf = None
    """random_labels only: an operation whose results are as frequent as these labels shall be; absent: uniform."""
    target_dim: Annotated[int, Like("target_dim")] = DEFAULTS["target_dim"]
    folder: Annotated[str | None, Like("folder")] = None
    """images only: the folder with MNIST's four IDX files, gzipped or not; relative to the spec's folder."""
    file: Annotated[str | None, Like("file")] = None
    """data only: an .npz file with features (examples in rows) and targets (whole numbers from 0 on: classes; of a
    floating-point type: real numbers, a regression), and, if there are any, val_features and val_targets; or a .parquet
    file with columns of these. Relative to the spec's folder."""
    feature_columns: FeatureColumns = ""
    """data only: columns of a .parquet file, numbers or rows of them; absent: features, or all but the other ones."""
    target_columns: TargetColumns = ""
    """data only: columns of a .parquet file; absent: targets. One of whole numbers holds classes; of real numbers there
    may be several."""
    bits: Annotated[int, Like("bits")] = DEFAULTS["bits"]
    parity: Annotated[int, Like("parity")] = DEFAULTS["parity"]
    digits: Annotated[int, Like("digits")] = DEFAULTS["digits"]
    tokens: Annotated[int, Like("tokens")] = DEFAULTS["tokens"]
    length: Annotated[int, Like("length")] = DEFAULTS["length"]
    repeated: Annotated[int, Like("repeated")] = DEFAULTS["repeated"]
    copies: Annotated[int, Like("copies")] = DEFAULTS["copies"]
    trigrams: Annotated[int, Like("trigrams")] = DEFAULTS["trigrams"]
    fresh: Annotated[bool, Like("fresh")] = DEFAULTS["fresh"]
    val_size: Annotated[int | None, Like("val_size")] = None
    tolerance: Annotated[float, Like("tolerance")] = DEFAULTS["tolerance"]
    right_within: Annotated[float | None, Like("right_within")] = None
    n_examples: Annotated[int, Like("n_examples")] = DEFAULTS["n_examples"]
    n_tokens: Annotated[int, Like("n_tokens")] = DEFAULTS["n_tokens"]
    input_size: Annotated[int, Like("input_size")] = DEFAULTS["input_size"]
    """code only: numbers of an example, where it is not tokens."""
    n_classes: Annotated[int, Like("n_classes")] = DEFAULTS["n_classes"]
    """code only: classes that an example may be of."""
    n_outputs: Annotated[int, Like("n_outputs")] = DEFAULTS["n_outputs"]
    """code only: numbers of a real-valued target; 0: targets are classes."""


class ModelBlock(Block):
    """The network. `model: toy` is short for `model: {kind: toy}`."""

    kind: Annotated[str, Like("model")] = DEFAULTS["model"]
    """transformer (decoder-only, as in Nanda et al. 2023 unless told otherwise), toy (embeddings and a tanh MLP, as in
    Liu et al. 2022), mlp (ReLU layers, on images, numbers or symbols) or code (`init` and `apply` of the user's Python
    file)."""
    width: Annotated[int, Like("width")] = DEFAULTS["width"]
    depth: Annotated[int, Like("depth")] = DEFAULTS["depth"]
    heads: Annotated[int, Like("heads")] = DEFAULTS["heads"]
    mlp_ratio: Annotated[int, Like("mlp_ratio")] = DEFAULTS["mlp_ratio"]
    biases: Annotated[bool, Like("biases")] = DEFAULTS["biases"]
    activation: Annotated[str | None, Like("activation")] = None
    initialization: Annotated[str, Like("initialization")] = DEFAULTS["initialization"]
    layer_norm: Annotated[str, Like("layer_norm")] = DEFAULTS["layer_norm"]
    final_norm: Annotated[bool, Like("final_norm")] = DEFAULTS["final_norm"]
    attention: Annotated[str, Like("attention")] = DEFAULTS["attention"]
    attention_biases: Annotated[bool, Like("attention_biases")] = DEFAULTS["attention_biases"]
    positions: Annotated[str, Like("positions")] = DEFAULTS["positions"]
    equals_token: Annotated[bool, Like("equals_token")] = DEFAULTS["equals_token"]
    operator_token: Annotated[bool, Like("operator_token")] = DEFAULTS["operator_token"]
    vocabulary: Annotated[int | None, Like("vocabulary")] = None
    readout: Annotated[str, Like("readout")] = DEFAULTS["readout"]
    readout_bias: Annotated[bool, Like("readout_bias")] = DEFAULTS["readout_bias"]
    tied_embeddings: Annotated[bool, Like("tied_embeddings")] = DEFAULTS["tied_embeddings"]
    split_mlp: Annotated[bool, Like("split_mlp")] = DEFAULTS["split_mlp"]
    combine: Annotated[str | None, Like("combine")] = None
    embedding_dim: Annotated[int, Like("embedding_dim")] = DEFAULTS["embedding_dim"]
    embedding_scale: Annotated[float, Like("embedding_scale")] = DEFAULTS["embedding_scale"]
    init_scale: Annotated[float, Like("init_scale")] = DEFAULTS["init_scale"]
    dropout: Annotated[float, Like("dropout")] = DEFAULTS["dropout"]
    dropout_on: Annotated[str, Like("dropout_on")] = DEFAULTS["dropout_on"]


class OptimizerBlock(Block):
    """How weights change. `optimizer: sgd` is short for `optimizer: {kind: sgd}`."""

    kind: Annotated[str, Like("optimizer")] = DEFAULTS["optimizer"]
    """adamw (decoupled decay), adam or sgd (decay added to the gradient, as in torch.optim)."""
    learning_rate: Annotated[float, Like("learning_rate")] = DEFAULTS["learning_rate"]
    weight_decay: Annotated[float, Like("weight_decay")] = DEFAULTS["weight_decay"]
    embedding_learning_rate: Annotated[float | None, Like("embedding_learning_rate")] = None
    embedding_weight_decay: Annotated[float | None, Like("embedding_weight_decay")] = None
    betas: Betas = (DEFAULTS["beta1"], DEFAULTS["beta2"])
    """Decay of Adam's moments. Axes and --set may also name beta1 and beta2."""
    eps: Annotated[float, Like("eps")] = DEFAULTS["eps"]
    momentum: Annotated[float, Like("momentum")] = DEFAULTS["momentum"]
    warmup_steps: Annotated[int, Like("warmup_steps")] = DEFAULTS["warmup_steps"]
    last_layer_learning_rate: Annotated[float | None, Like("last_layer_learning_rate")] = None
    decay_towards: Annotated[str, Like("decay_towards")] = DEFAULTS["decay_towards"]
    fixed_norm: Annotated[bool, Like("fixed_norm")] = DEFAULTS["fixed_norm"]
    clip_norm: Annotated[float | None, Like("clip_norm")] = None
    gradient_noise: Annotated[float, Like("gradient_noise")] = DEFAULTS["gradient_noise"]
    weight_noise: Annotated[float, Like("weight_noise")] = DEFAULTS["weight_noise"]


class LossBlock(Block):
    """What is minimized. `loss: mse` is short for `loss: {kind: mse}`."""

    kind: Annotated[str, Like("loss")] = DEFAULTS["loss"]
    """cross_entropy; mse onto fixed vectors of which the nearest is the prediction; or hinge, for two classes."""
    targets: Annotated[str | None, Like("targets")] = None
    dtype: Annotated[str, Like("loss_dtype")] = DEFAULTS["loss_dtype"]
    """Precision of the loss alone; float64 anyway where the whole training is."""
    embedding_penalty: Annotated[float, Like("embedding_penalty")] = DEFAULTS["embedding_penalty"]


class CodeBlock(Block):
    """A Python file of the user's. `code: mine.py` is short for `code: {file: mine.py}`. It runs with --allow-code."""

    file: str
    """Relative to the spec's folder. See trainers/interface.py for what it may define."""
    sha256: Annotated[str | None, Like("code_sha256")] = None
    """Of its contents; absent: whatever they are. Another file is another sweep."""


class Evaluation(Block):
    """When metrics are taken: dense in log time, then at a bounded linear gap."""

    growth: Annotated[float, Like("eval_growth")] = DEFAULTS["eval_growth"]
    """Evaluation steps grow by this factor..."""
    gaps: Annotated[int, Like("eval_gaps")] = DEFAULTS["eval_gaps"]
    """...until they lie steps / gaps apart."""


class Stop(Block):
    """The only rule by which a run ends early. Off by default."""

    val_accuracy: Annotated[float | None, Like("stop_val_accuracy")] = None
    """End a run when validation accuracy has stayed at or above this..."""
    patience_steps: Annotated[int, Like("stop_patience_steps")] = DEFAULTS["stop_patience_steps"]
    """...for this many steps."""


class Timed(Block):
    """When: one of three forms, and without any of them 1.2 and 40 for growth and gaps."""

    every: Count | None = None
    """At step 0, then after so many steps each, and at the end."""
    steps: Steps | None = None
    """At these steps and no others."""
    growth: Annotated[float, Like("eval_growth")] | None = None
    """At steps that grow by this factor..."""
    gaps: Annotated[int, Like("eval_gaps")] | None = None
    """...until they lie steps / gaps apart."""

    @model_validator(mode="after")
    def _one_form(self) -> "Timed":
        forms = [self.every is not None, self.steps is not None, self.growth is not None or self.gaps is not None]
        if sum(forms) > 1:
            raise PydanticCustomError("schedule", "should say when in one way: every, or steps, or growth and gaps")
        return self

    def in_words(self) -> str:
        """As RunConfig has it."""
        if self.every is not None:
            return f"every {self.every}"
        if self.steps is not None:
            return " ".join(["steps", *map(str, sorted(set(self.steps)))])
        _, growth, gaps = DEFAULT_SCHEDULE.split(" ")
        return f"log {float(self.growth or growth)} {self.gaps or gaps}"


class Measures(Timed):
    """What is measured more rarely than in every row of the traces, into a table of its own."""

    names: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(as_tuple)]
    """norms, neuron_norms, subnetwork_size, effective_dimension, fourier, fourier_losses, token_losses."""


class Snapshots(Timed):
    """Parameters that are kept while they are trained."""

    what: Literal["embedding", "weights"] = "embedding"
    """The token embedding, or all parameters."""


class Sample(Block):
    """Random points instead of a grid; multiplied with the grid."""

    count: Annotated[int, Field(ge=1, le=MAX_AXIS)]
    seed: Seed = 0
    axes: dict[str, dict[str, Values]]
    """Of each axis one of uniform: [low, high], loguniform: [low, high], choice: [values]."""


class Diagram(Block):
    """The axes of the phase diagram."""

    x: str
    y: str
    facet: str | None = None
    """One panel for each value of this axis."""


def _gpu_share(gpus: float) -> float:
    if gpus > 1 and gpus != int(gpus):
        raise ValueError(f"{gpus:g} GPUs cannot be shared out: give a fraction up to 1, or a whole number")
    return gpus


class Resources(Block):
    """What a pack gets. Never part of a run's identity."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    gpus_per_pack: Annotated[NonNegative, AfterValidator(_gpu_share)] | None = None
    """May be a fraction up to one, beyond it a whole number; absent: one where there are GPUs."""
    cpus_per_pack: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Threads of a pack."""
    lanes: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Runs trained side by side in a pack; absent: chosen by cost."""
    engine: Engine = None
    """plain, eager or compiled; auto (or absent): chosen by cost."""


class Keep(Block):
    """What is kept beside the traces."""

    weights: Literal["none", "final"] = "none"


class TrainPhase(Block):
    """An entry of a schedule of train sizes."""

    step: Annotated[int, Field(ge=0, le=2**31 - 1)]
    """Updates made when it begins."""
    size: PhaseSize
    """Examples, a fraction of the table, or all of it."""


class SweepSpec(Block):
    """One sweep. Made by `orchestrator.spec.load_spec`, which checks the axes and what involves several fields."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    """Name of the sweep and of its folder."""
    task: TaskBlock = TaskBlock()
    model: ModelBlock = ModelBlock()
    optimizer: OptimizerBlock = OptimizerBlock()
    loss: LossBlock = LossBlock()
    code: CodeBlock | None = None
    """A Python file of the user's with a task, a model or metrics."""
    steps: Annotated[int, Like("steps")] | None = None
    """Optimizer steps of each run; required unless it is an axis."""
    train_size: TrainSize | None = None
    """Number of training examples, or a fraction of the table below 1; required unless it is an axis. A list is a
    schedule: `[{step: 0, size: all}, {step: 5000, size: 400}]`, of which an axis train_size varies the last size."""
    train_size_before: TrainSizeBefore = ""
    """The schedule without its last size, as text: `all until 5000`. Validation is what the last set leaves over."""
    batch_size: Annotated[int | None, Like("batch_size")] = None
    label_noise: Annotated[float, Like("label_noise")] = DEFAULTS["label_noise"]
    dtype: Annotated[str, Like("dtype")] = DEFAULTS["dtype"]
    outliers: Annotated[int, Like("outliers")] = DEFAULTS["outliers"]
    data_seed: Annotated[int | None, Like("data_seed")] = None
    init_seed: Annotated[int | None, Like("init_seed")] = None
    evaluation: Evaluation = Evaluation()
    metrics: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """Further metrics of every row, e.g. embedding_norm, val_loss_normalized, val_accuracy_SUBSET."""
    measures: Measures | None = None
    snapshots: Snapshots | None = None
    stop: Stop = Stop()
    grid: dict[str, Values] = {}
    """Every combination of these axes; the first is the outermost."""
    zip: dict[str, Values] = {}
    """Axes of equal length that move together; multiplied with the grid."""
    sample: Sample | None = None
    where: Filter | None = None
    """Only runs for which this holds, e.g. width * 10 <= train_size."""
    seeds: Seeds = (0,)
    """A count (11: seeds 0 to 10) or a list."""
    diagram: Diagram | None = None
    classifier: dict[str, Any] = {}
    """Thresholds of the classifier that differ from its defaults."""
    resources: Resources = Resources()
    keep: Keep = Keep()

    def axis_paths(self) -> dict[str, KeyPath]:
        """Every axis and where it stands, in the order of expansion."""
        sampled = self.sample.axes if self.sample else {}
        paths: dict[str, KeyPath] = {name: ("grid", name) for name in self.grid}
        return {**paths, **{n: ("zip", n) for n in self.zip}, **{n: ("sample", "axes", n) for n in sampled}}

    def base_values(self) -> dict[str, Any]:
        """The hyperparameters that the blocks set, by their flat names."""
        values: dict[str, Any] = {}
        for name, path in PLACES.items():
            value: Any = self
            for part in path:
                value = value[part] if isinstance(part, int) else getattr(value, part)
            values[name] = value
        del values["betas"]
        code: dict[str, str | None] = {"code": None, "code_sha256": None}
        if self.code is not None:
            code = {"code": self.code.file, "code_sha256": self.code.sha256}
        return values | code | self._observed()

    def _observed(self) -> dict[str, Any]:
        """What is looked at, in the flat words of RunConfig."""
        observed: dict[str, Any] = {name: DEFAULTS[name] for name in OBSERVED}
        # Sorted: the order in which they are named is no matter for a run's identity.
        observed["metrics"] = ",".join(sorted(self.metrics))
        if self.measures:
            observed |= {"measures": ",".join(sorted(self.measures.names)), "measure_at": self.measures.in_words()}
        if self.snapshots:
            observed |= {"snapshots": self.snapshots.what, "snapshot_at": self.snapshots.in_words()}
        return observed


SHORT_FORMS = {"task": "op", "model": "kind", "optimizer": "kind", "loss": "kind", "code": "file"}
"""`loss: mse` stands for `loss: {kind: mse}`."""


def hyperparameter(info: Any) -> str | None:
    """The flat name that a field of a block sets, if any."""
    found = [mark.name for mark in info.metadata if isinstance(mark, Sets)]
    nested = getattr(info.annotation, "__args__", ())  # `TrainSize | None` keeps its marks inside the union
    found += [mark.name for part in nested for mark in getattr(part, "__metadata__", ()) if isinstance(mark, Sets)]
    return found[0] if found else None


def _places(model: type[BaseModel], prefix: KeyPath = ()) -> dict[str, KeyPath]:
    places: dict[str, KeyPath] = {}
    for key, info in model.model_fields.items():
        path = (*prefix, key)
        name = hyperparameter(info)
        if name is not None:
            places[name] = path
        elif isinstance(info.annotation, type) and issubclass(info.annotation, Block):
            places.update(_places(info.annotation, path))
    return places


PLACES: dict[str, KeyPath] = _places(SweepSpec)
PLACES["beta1"], PLACES["beta2"] = (*PLACES["betas"], 0), (*PLACES["betas"], 1)
PLACES |= {name: ("code",) for name in CODE}


@functools.cache
def adapter(name: str) -> TypeAdapter[Any]:
    """What one value of an axis must be."""
    return TypeAdapter(_axis_type(name), config=ConfigDict(strict=True))


@functools.cache
def list_adapter(name: str) -> TypeAdapter[list[Any]]:
    """What a list of them must be."""
    annotation: Any = list[_axis_type(name)]  # type: ignore[misc]
    return TypeAdapter(annotation, config=ConfigDict(strict=True))


def _axis_type(name: str) -> Any:
    special: dict[str, Any] = {
        "task": Operation, "train_size": TrainSize, "train_size_before": TrainSizeBefore, "betas": Betas,
        "subsets": Subsets, "marginal_of": MarginalOf, "members": Members,
    }  # fmt: skip
    return special.get(name, Annotated[Any, Like(name)])
