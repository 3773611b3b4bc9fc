"""The nearest valid word to one that is not, with the names that people use instead."""

from collections.abc import Collection
from difflib import get_close_matches

SYNONYMS = {
    "pytorch": ("torch", "pt"),
    "tensorflow": ("tf", "keras", "tf2"),
    "jax": ("flax", "optax", "jaxlib"),
    "numpy": ("np",),
    "float64": ("fp64", "f64", "double"),
    "float32": ("fp32", "f32", "float", "single", "full"),
    "bfloat16": ("bf16", "float16", "fp16", "f16", "half", "mixed", "amp"),
    "gpu": ("cuda", "nvidia"),
    "compiled": ("jit", "xla", "compile", "torch.compile", "jax.jit", "inductor"),
    "scan": ("lax.scan", "multi-step", "multi", "many"),
    "graph": ("tf.function", "function"),
    "keras-fit-xla": ("model.fit",),
    "eager": ("imperative", "plain", "interpreted"),
    "streamed": ("stream", "streaming", "host"),
    "resident": ("device", "memory"),
    "stock": ("keras", "default", "own", "epsilon-hat"),
    "quick": ("fast", "smoke", "short"),
    "full": ("all", "everything", "long"),
    "measure": ("run", "bench", "benchmark", "test", "time"),
    "certify": ("verify", "check", "prove", "certificate"),
    "compare": ("diff", "gate"),
    "list": ("ls", "show"),
    "--learning-rate": ("--lr", "--rate"),
    "--steps": ("--epochs", "--iterations", "--iters"),
    "--device": ("--gpu", "--cpu", "--cuda"),
    "--hidden": ("--layers", "--units"),
    "--launches": ("--runs", "--repeats", "--repetitions"),
    "--threads": ("--cpus", "--cores", "--jobs", "--num-threads"),
    "--time-limit": ("--timeout", "--limit"),
    "--backends": ("--frameworks", "--framework", "--only"),
    "--precision": ("--dtype", "--type"),
    "--fail-if-slower": ("--threshold", "--fail"),
    "--version": ("--v",),
}
"""What people write for a word; which words are valid depends on where it stands."""


def similar_to(text: str, known: Collection[str]) -> str:
    """The one of the `known` words that was probably meant; empty where none is near."""
    # Dashes, which all options share, would make any two of them alike.
    names = {one.lstrip("-"): word for word in known for one in (*SYNONYMS.get(word, ()), word)}
    # What follows a colon is the number of a device.
    written = text.lower().partition(":")[0].lstrip("-")
    near = [written] if written in names else get_close_matches(written, names, 1, cutoff=0.7)
    return names[near[0]] if near else ""
