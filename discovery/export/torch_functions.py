"""The guarded primitives of programs for PyTorch, as text: files that jax does not need to read.

They compute what those in `objectives.programs.primitives` do; tests compare both.
"""

TORCH_FUNCTIONS = {
    "bounded": '''
def bounded(x):
    """x as a tensor of float32 at least, clipped to +-`BOUND`."""
    x = torch.as_tensor(x)
    return x.to(torch.promote_types(x.dtype, torch.float32)).clamp(-BOUND, BOUND)
''',
    "clipped_gradient": '''
class ClippedGradient(torch.autograd.Function):
    """x, whose gradient is clipped to +-`STEEPEST`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        """x."""
        return x.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Nothing is kept."""

    @staticmethod
    def backward(ctx, gradient):
        """The gradient by x."""
        return gradient.clamp(-STEEPEST, STEEPEST)


def clipped_gradient(x):
    """x, whose gradient is clipped to +-`STEEPEST`."""
    return ClippedGradient.apply(x)
''',
    "divide": '''
def divide(x, y):
    """x / y, with a y nearer to zero than `SMALL` as +-SMALL."""
    small = SMALL * torch.where(y < 0, -1.0, 1.0).to(y)
    return bounded(bounded(x) / torch.where(torch.abs(y) < SMALL, small, y))
''',
    "sqrt": '''
def sqrt(x):
    """The root of x, or of `TINY` if that is larger."""
    return torch.sqrt(x.clamp(min=TINY))
''',
    "exp": '''
def exp(x):
    """exp x, at most `BOUND`."""
    return torch.exp(x.clamp(max=LARGEST_EXPONENT))
''',
    "expm1": '''
def expm1(x):
    """exp x - 1, at most `BOUND`."""
    return torch.expm1(x.clamp(max=LARGEST_EXPONENT))
''',
    "log": '''
def log(x):
    """The logarithm of the size of x, or of `TINY` if that is larger."""
    return torch.log(torch.abs(x).clamp(min=TINY))
''',
    "log1p": '''
def log1p(x):
    """log(1 + x), finite at -1 and below."""
    return torch.log1p(x.clamp(min=-1 + 1e-7))
''',
    "std": '''
def std(x):
    """The standard deviation (of the population, not of a sample), at least sqrt `TINY`."""
    x = bounded(x)
    return torch.sqrt(bounded(torch.square(x - x.mean())).mean().clamp(min=TINY))
''',
}
"""By name; all but `bounded` and `clipped_gradient` may call `bounded`."""
