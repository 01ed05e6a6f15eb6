# torch.einsum of one or two tensors: permutations, sums and one matrix product.
from _import import Unsupported
from torch._ops import matmul, permute, reshape, sum_
from torch._tensor import _count


def _ordered(t, letters, wanted):
    """`t` with the letters that are not wanted summed away, and the others in the wanted order."""
    gone = tuple(i for i, letter in enumerate(letters) if letter not in wanted)
    if gone:
        t = sum_(t, gone)
    kept = [letter for letter in letters if letter in wanted]
    order = [kept.index(letter) for letter in wanted]
    return t if order == list(range(len(order))) else permute(t, *order)


def einsum(equation, *operands):
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = operands[0]
    equation = equation.replace(" ", "")
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    if len(operands) not in (1, 2) or "." in equation:
        raise Unsupported("torch.einsum of " + repr(equation))
    if len(terms) != len(operands):
        raise ValueError("einsum(): more operands were provided than specified in the equation, or fewer")
    if not arrow:
        result = "".join(sorted(letter for letter in set(left) - {","} if left.count(letter) == 1))
    extent = {}
    for term, t in zip(terms, operands):
        if len(term) != len(t._shape):
            raise RuntimeError("einsum(): the subscript " + repr(term) + " does not match a tensor of " + str(len(t._shape)) + " dimensions")
        if len(set(term)) != len(term):
            raise Unsupported("torch.einsum with a diagonal")
        for letter, n in zip(term, t._shape):
            if extent.setdefault(letter, n) != n:
                raise RuntimeError("einsum(): subscript " + letter + " has size " + str(n) + " and " + str(extent[letter]))
    if len(set(result)) != len(result) or not set(result) <= set(extent):
        raise RuntimeError("einsum(): invalid output " + repr(result))
    if len(operands) == 1:
        return _ordered(operands[0], terms[0], result)
    a, b = terms
    both = [letter for letter in a if letter in b]
    batch = [letter for letter in both if letter in result]
    inner = [letter for letter in both if letter not in result]
    rows = [letter for letter in a if letter not in b and letter in result]
    columns = [letter for letter in b if letter not in a and letter in result]

    def sizes(letters):
        return tuple(extent[letter] for letter in letters)

    x = reshape(_ordered(operands[0], a, batch + rows + inner), sizes(batch) + (_count(sizes(rows)), _count(sizes(inner))))
    y = reshape(_ordered(operands[1], b, batch + inner + columns), sizes(batch) + (_count(sizes(inner)), _count(sizes(columns))))
    return _ordered(reshape(matmul(x, y), sizes(batch + rows + columns)), batch + rows + columns, list(result))
