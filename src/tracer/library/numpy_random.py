# numpy.random's old functions: the numbers of its Mersenne twister for a seed, the same ones each time without.
import numpy
from _import import Unsupported, missing
from _twister import Twister, guarded
from numpy import array, float64, int64, ndarray

__getattr__ = missing("numpy.random")


class RandomState:
    def __init__(self, seed=None):
        self.twister = Twister()
        self.seed(seed)

    def seed(self, seed=None):
        seed = 0 if seed is None else int(seed.__index__())
        if not 0 <= seed < 1 << 32:
            raise ValueError("Seed must be between 0 and 2**32 - 1")
        self.twister.seed_number(seed)

    def _many(self, size, draw, kind):
        if size is None:
            return kind(draw())
        shape = (int(size),) if not isinstance(size, (tuple, list)) else tuple(int(n) for n in size)
        n = numpy._product(shape)
        if n > numpy.MOST:
            raise Unsupported("more than a million random numbers")
        return ndarray([draw() for _ in range(n)], shape, kind)

    def random_sample(self, size=None):
        return self._many(size, self.twister.random, float64)

    random = sample = ranf = random_sample

    def rand(self, *size):
        return self.random_sample(size or None)

    def uniform(self, low=0.0, high=1.0, size=None):
        return self._many(size, lambda: low + (high - low) * self.twister.random(), float64)

    def standard_normal(self, size=None):
        return self._many(size, self.twister.polar, float64)

    def randn(self, *size):
        return self.standard_normal(size or None)

    def normal(self, loc=0.0, scale=1.0, size=None):
        return self._many(size, lambda: loc + scale * self.twister.polar(), float64)

    def randint(self, low, high=None, size=None, dtype=int):
        low, high = (0, low) if high is None else (low, high)
        if high <= low:
            raise ValueError("low >= high")
        return self._many(size, lambda: int(low) + (self.twister.masked(int(high) - int(low) - 1) if high - low > 1 else 0), int64)

    def shuffle(self, x):
        for i in range(len(x) - 1, 0, -1):
            j = self.twister.masked(i)
            held = x[i] if not isinstance(x[i], ndarray) else x[i].copy()
            x[i] = x[j]
            x[j] = held

    def permutation(self, x):
        made = numpy.arange(x) if isinstance(x, int) else array(x)
        self.shuffle(made)
        return made

    def choice(self, a, size=None, replace=True, p=None):
        among = None if isinstance(a, int) else list(a)
        n = int(a) if among is None else len(among)
        if p is not None and not replace:
            raise Unsupported("numpy.random.choice with weights and without replacement")
        if p is not None:
            ends = numpy.cumsum(array(p))
            ends = ends / ends.values[-1]
            places = self._many(size, lambda: self._weighted(ends.values), int64)
        elif replace:
            places = self.randint(0, n, size)
        else:
            places = self.permutation(n)
            count = 1 if size is None else numpy._product(size) if isinstance(size, (tuple, list)) else int(size)
            if count > n:
                raise ValueError("Cannot take a larger sample than population when replace is False")
            places = places[:count].reshape(size) if size is not None else places[0]
        if among is None:
            return places
        if isinstance(places, ndarray):
            return array([among[i] for i in places.values]).reshape(places.shape) if all(isinstance(v, (int, float)) for v in among) else [among[i] for i in places.values]
        return among[places]

    def _weighted(self, ends):
        at = self.twister.random()
        return len([end for end in ends if end <= at])


_one = RandomState()
for _name in "seed random random_sample sample rand uniform standard_normal randn normal randint shuffle permutation choice".split():
    globals()[_name] = guarded("numpy.random." + _name, getattr(_one, _name))
