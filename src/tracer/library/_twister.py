# The Mersenne twister (MT19937, Matsumoto and Nishimura 1998): what a seed gives in Python's `random` and in numpy's old functions.
import math

from _import import Unsupported
from torch._tensor import State

WORDS, MIDDLE, LOW = 624, 397, 0xFFFFFFFF


class Twister:
    def __init__(self):
        self.seed_array([0])

    def seed_number(self, seed):
        self.words = words = [seed & LOW]
        for i in range(1, WORDS):
            words.append((1812433253 * (words[-1] ^ words[-1] >> 30) + i) & LOW)
        self.at, self.spare = WORDS, None

    def seed_array(self, key):
        self.seed_number(19650218)
        words, i, j = self.words, 1, 0
        for _ in range(max(WORDS, len(key))):
            words[i] = ((words[i] ^ (words[i - 1] ^ words[i - 1] >> 30) * 1664525) + key[j] + j) & LOW
            i, j = i + 1, (j + 1) % len(key)
            if i >= WORDS:
                words[0], i = words[WORDS - 1], 1
        for _ in range(WORDS - 1):
            words[i] = ((words[i] ^ (words[i - 1] ^ words[i - 1] >> 30) * 1566083941) - i) & LOW
            i += 1
            if i >= WORDS:
                words[0], i = words[WORDS - 1], 1
        words[0] = 0x80000000

    def word(self):
        if self.at >= WORDS:
            words = self.words
            for i in range(WORDS):
                y = words[i] & 0x80000000 | words[(i + 1) % WORDS] & 0x7FFFFFFF
                words[i] = words[(i + MIDDLE) % WORDS] ^ y >> 1 ^ (0x9908B0DF if y & 1 else 0)
            self.at = 0
        y = self.words[self.at]
        self.at += 1
        y ^= y >> 11
        y ^= y << 7 & 0x9D2C5680
        y ^= y << 15 & 0xEFC60000
        return y ^ y >> 18

    def random(self):
        return ((self.word() >> 5) * 67108864 + (self.word() >> 6)) / 9007199254740992.0

    def masked(self, most):
        """A whole number from 0 to `most`, drawn anew until it is one: numpy's way."""
        mask = (1 << most.bit_length()) - 1
        if most > LOW:
            raise Unsupported("a random number of more than 32 bits")
        value = self.word() & mask
        while value > most:
            value = self.word() & mask
        return value

    def below(self, n):
        """A whole number below `n`: Python's way."""
        bits = n.bit_length()
        value = self.bits(bits)
        while value >= n:
            value = self.bits(bits)
        return value

    def bits(self, k):
        value, got = 0, 0
        while got < k:
            take = min(32, k - got)
            value |= self.word() >> 32 - take << got
            got += take
        return value

    def polar(self):
        """A standard normal number by Marsaglia's polar method, as numpy's old generator keeps the second of each pair."""
        if self.spare is not None:
            value, self.spare = self.spare, None
            return value
        while True:
            a, b = 2 * self.random() - 1, 2 * self.random() - 1
            r = a * a + b * b
            if 0 < r < 1:
                break
        f = math.sqrt(-2 * math.log(r) / r)
        self.spare = f * a
        return f * b


def guarded(name, function):
    """Chance in forward would make each call another network."""

    def call(*args, **kwargs):
        if State.number:
            raise Unsupported(name + " in forward")
        return function(*args, **kwargs)

    return call
