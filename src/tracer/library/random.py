# `random`: the numbers that Python's own generator gives for a seed, and the same ones each time without.
import math

from _import import Unsupported, missing
from _twister import Twister, guarded

__getattr__ = missing("random")


class Random:
    def __init__(self, x=None):
        self.twister = Twister()
        self.second = None
        self.seed(x)

    def seed(self, a=None, version=2):
        a = 0 if a is None else a
        if not isinstance(a, int):
            raise Unsupported("random.seed of a " + type(a).__name__)
        a, key = abs(a), []
        while a:
            key.append(a & 0xFFFFFFFF)
            a >>= 32
        self.twister.seed_array(key or [0])
        self.second = None

    def random(self):
        return self.twister.random()

    def getrandbits(self, k):
        return self.twister.bits(k)

    def uniform(self, a, b):
        return a + (b - a) * self.random()

    def randrange(self, start, stop=None, step=1):
        if stop is None:
            start, stop = 0, start
        n = len(range(start, stop, step))
        if n <= 0:
            raise ValueError("empty range for randrange()")
        return start + step * self.twister.below(n)

    def randint(self, a, b):
        return self.randrange(a, b + 1)

    def choice(self, seq):
        if not len(seq):
            raise IndexError("Cannot choose from an empty sequence")
        return seq[self.twister.below(len(seq))]

    def choices(self, population, weights=None, *, cum_weights=None, k=1):
        n = len(population)
        if weights is None and cum_weights is None:
            return [population[math.floor(self.random() * (n + 0.0))] for _ in range(k)]
        if cum_weights is None:
            cum_weights, total = [], 0
            for weight in weights:
                total = total + weight
                cum_weights.append(total)
        chosen = []
        for _ in range(k):
            at = self.random() * (cum_weights[-1] + 0.0)
            chosen.append(population[min(n - 1, len([w for w in cum_weights if w <= at]))])
        return chosen

    def shuffle(self, x):
        for i in range(len(x) - 1, 0, -1):
            j = self.twister.below(i + 1)
            x[i], x[j] = x[j], x[i]

    def sample(self, population, k):
        n = len(population)
        if not 0 <= k <= n:
            raise ValueError("Sample larger than population or is negative")
        few = 21
        if k > 5:
            few += 4 ** math.ceil(math.log(k * 3, 4))
        chosen = []
        if n <= few:
            pool = list(population)
            for i in range(k):
                j = self.twister.below(n - i)
                chosen.append(pool[j])
                pool[j] = pool[n - i - 1]
            return chosen
        seen = set()
        for _ in range(k):
            j = self.twister.below(n)
            while j in seen:
                j = self.twister.below(n)
            seen.add(j)
            chosen.append(population[j])
        return chosen

    def gauss(self, mu=0.0, sigma=1.0):
        z, self.second = self.second, None
        if z is None:
            angle = self.random() * math.tau
            length = math.sqrt(-2.0 * math.log(1.0 - self.random()))
            z, self.second = math.cos(angle) * length, math.sin(angle) * length
        return mu + z * sigma

    def normalvariate(self, mu=0.0, sigma=1.0):
        magic = 4 * math.exp(-0.5) / math.sqrt(2.0)
        while True:
            u, v = self.random(), 1.0 - self.random()
            z = magic * (u - 0.5) / v
            if z * z / 4.0 <= -math.log(v):
                return mu + z * sigma


_one = Random()
for _name in "seed random getrandbits uniform randrange randint choice choices shuffle sample gauss normalvariate".split():
    globals()[_name] = guarded("random." + _name, getattr(_one, _name))
