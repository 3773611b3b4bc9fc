"""NumPy's ladder, which has a single rung."""

from backends.ladder import RESIDENT, TAUGHT, Backend, Mode

NUMPY = Backend(
    name="numpy",
    title="NumPy",
    module="backends.numpy.backend",
    packages=("numpy",),
    distributions=("numpy",),
    modes={
        "eager": Mode(
            tier=TAUGHT,
            about="written out by hand, one BLAS call a product",
            source="https://numpy.org/numpy-tutorials/tutorial-deep-learning-on-mnist/",
            # The host is the device: there is nothing to stream to.
            inputs=RESIDENT,
        )
    },
    devices=("cpu",),
    one_machine=True,
    # It computes TF32 and bfloat16 in float32: of use as a reference, not to be timed.
    precisions=("float64", "float32"),
)
