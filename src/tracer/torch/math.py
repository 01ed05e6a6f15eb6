# The part of `math` that networks use.
from _import import missing, public
from _math import acos, asin, atan, cos, cosh, exp, expm1, fabs, log1p, log2, log10, sin, sinh, sqrt, tan, tanh
from _math import log as _ln

public.add("math")
__getattr__ = missing("math")

pi = 3.141592653589793
e = 2.718281828459045
tau = 6.283185307179586
inf = float("inf")
nan = float("nan")


def log(x, base=None):
    return _ln(x) if base is None else _ln(x) / _ln(base)


def floor(x):
    return x if isinstance(x, int) else int(x // 1)


def ceil(x):
    return x if isinstance(x, int) else -int(-x // 1)


def trunc(x):
    return int(x)


def pow(x, y):
    return float(x) ** float(y)


def prod(items, *, start=1):
    for item in items:
        start = start * item
    return start


def gcd(*numbers):
    result = 0
    for b in numbers:
        a = result
        while b:
            a, b = b, a % b
        result = abs(a)
    return result


def lcm(*numbers):
    result = 1
    for n in numbers:
        if n == 0:
            return 0
        result = abs(result * n) // gcd(result, n)
    return result


def isqrt(n):
    if n < 0:
        raise ValueError("isqrt() argument must be nonnegative")
    root = n
    while root * root > n:
        root = (root + n // root) // 2
    return root


def isclose(a, b, *, rel_tol=1e-09, abs_tol=0.0):
    return a == b or abs(a - b) <= max(rel_tol * max(abs(a), abs(b)), abs_tol)


def isnan(x):
    return x != x


def isinf(x):
    return x == inf or x == -inf


def isfinite(x):
    return not isnan(x) and not isinf(x)


def hypot(*xs):
    return sqrt(sum(x * x for x in xs))


def fsum(xs):
    return float(sum(xs))


def comb(n, k):
    result = 1
    for i in range(min(k, n - k)):
        result = result * (n - i) // (i + 1)
    return result if 0 <= k <= n else 0


def factorial(n):
    return prod(range(1, n + 1))


def fmod(x, y):
    return x - y * trunc(x / y)


def perm(n, k=None):
    return prod(range(n - (n if k is None else k) + 1, n + 1))


def dist(p, q):
    return sqrt(sum((a - b) * (a - b) for a, b in zip(p, q)))


def modf(x):
    return float(x - trunc(x)), float(trunc(x))


def frexp(x):
    if x == 0 or isinf(x) or isnan(x):
        return x, 0
    m, e = float(x), 0
    while abs(m) >= 1:
        m, e = m / 2, e + 1
    while abs(m) < 0.5:
        m, e = m * 2, e - 1
    return m, e


def ldexp(x, i):
    return float(x) * 2.0**i


def cbrt(x):
    root = abs(x) ** (1.0 / 3.0)
    return root if x >= 0 else -root


def exp2(x):
    return 2.0**x


def atan2(y, x):
    if x > 0:
        return atan(y / x)
    if x < 0:
        return atan(y / x) + (pi if y >= 0 else -pi)
    return 0.0 if y == 0 else pi / 2 if y > 0 else -pi / 2


def erf(x):
    """The Taylor series near zero, the continued fraction of the complement beyond."""
    a = abs(float(x))
    if a < 2.5:
        total = term = a
        n = 0
        while abs(term) > 1e-17 * abs(total):
            n += 1
            term = term * -a * a / n * (2 * n - 1) / (2 * n + 1)
            total += term
        value = 2 / sqrt(pi) * total
    elif a > 6:
        value = 1.0
    else:
        fraction = 0.0
        for k in range(80, 0, -1):
            fraction = k / 2 / (a + fraction)
        value = 1 - exp(-a * a) / sqrt(pi) / (a + fraction)
    return value if x >= 0 else -value


def erfc(x):
    return 1 - erf(x)


def copysign(x, y):
    return abs(x) if y >= 0 else -abs(x)


def degrees(x):
    return x * 180.0 / pi


def radians(x):
    return x * pi / 180.0
