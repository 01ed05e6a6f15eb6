# torch.einsum: permutations, sums, and a matrix product for each tensor after the first.
from _import import Unsupported
from torch._ops import matmul, permute, reshape, sum_
from torch._shapes import expand
from torch._tensor import _count


def _ordered(t, letters, wanted):
    """`t` with the letters that are not wanted summed away, and the others in the wanted order."""
    gone = tuple(i for i, letter in enumerate(letters) if letter not in wanted)
    if gone:
        t = sum_(t, gone)
    kept = [letter for letter in letters if letter in wanted]
    order = [kept.index(letter) for letter in wanted]
    return t if order == list(range(len(order))) else permute(t, *order)


def _spelled(terms, operands, result):
    """The same with letters of their own in place of `...`, of which the last stand for the last dimensions."""
    ranks = [len(t._shape) - len(term.replace("...", "")) for term, t in zip(terms, operands) if "..." in term]
    rest = "".join(chr(0x3B1 + i) for i in range(max(ranks, default=0)))
    own = []
    for term, t in zip(terms, operands):
        if "..." in term:
            count = len(t._shape) - len(term.replace("...", ""))
            if count < 0:
                raise RuntimeError("einsum(): the subscript " + repr(term) + " does not match a tensor of " + str(len(t._shape)) + " dimensions")
            term = term.replace("...", rest[len(rest) - count :])
        own.append(term)
    return own, result if result is None else result.replace("...", rest), rest


def einsum(equation, *operands):
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = operands[0]
    equation = equation.replace(" ", "")
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ValueError("einsum(): more operands were provided than specified in the equation, or fewer")
    terms, result, rest = _spelled(terms, operands, result if arrow else None)
    if "." in "".join(terms) + (result or ""):
        raise RuntimeError("einsum(): invalid equation " + repr(equation))
    if result is None:
        written = "".join(terms)
        result = rest + "".join(sorted(letter for letter in set(written) - set(rest) if written.count(letter) == 1))
    extent = {}
    for term, t in zip(terms, operands):
        if len(term) != len(t._shape):
            raise RuntimeError("einsum(): the subscript " + repr(term) + " does not match a tensor of " + str(len(t._shape)) + " dimensions")
        if len(set(term)) != len(term):
            raise Unsupported("torch.einsum with a diagonal")
        for letter, n in zip(term, t._shape):
            known = extent.setdefault(letter, n)
            if known == 1:
                extent[letter] = n
            elif n not in (1, known):
                raise RuntimeError("einsum(): subscript " + letter + " has size " + str(n) + " and " + str(known))
    if len(set(result)) != len(result) or not set(result) <= set(extent):
        raise RuntimeError("einsum(): invalid output " + repr(result))
    # A dimension of extent 1 is spread over the others'.
    whole = [expand(t, tuple(extent[letter] for letter in term)) for term, t in zip(terms, operands)]
    term, got = terms[0], whole[0]
    for i in range(1, len(whole)):
        wanted = set(result).union(*terms[i + 1 :])
        kept = "".join(letter for letter in dict.fromkeys(term + terms[i]) if letter in wanted)
        got, term = _product(got, term, whole[i], terms[i], kept, extent), kept
    return _ordered(got, term, result)


def _product(x, a, y, b, result, extent):
    both = [letter for letter in a if letter in b]
    batch = [letter for letter in both if letter in result]
    inner = [letter for letter in both if letter not in result]
    rows = [letter for letter in a if letter not in b and letter in result]
    columns = [letter for letter in b if letter not in a and letter in result]

    def sizes(letters):
        return tuple(extent[letter] for letter in letters)

    x = reshape(_ordered(x, a, batch + rows + inner), sizes(batch) + (_count(sizes(rows)), _count(sizes(inner))))
    y = reshape(_ordered(y, b, batch + inner + columns), sizes(batch) + (_count(sizes(inner)), _count(sizes(columns))))
    return _ordered(reshape(matmul(x, y), sizes(batch + rows + columns)), batch + rows + columns, list(result))
