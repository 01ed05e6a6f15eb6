# `json`: text to values and back.
from _import import Unsupported, missing

__getattr__ = missing("json")

_words = {"null": None, "true": True, "false": False, "NaN": float("nan"), "Infinity": float("inf"), "-Infinity": -float("inf")}
_escapes = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\", "/": "/"}


class JSONDecodeError(ValueError):
    pass


class _Reader:
    def __init__(self, text):
        self.text, self.at = text, 0

    def skip(self):
        while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
            self.at += 1

    def fail(self, what):
        raise JSONDecodeError(what + ": char " + str(self.at))

    def take(self, mark):
        self.skip()
        if self.text[self.at : self.at + len(mark)] != mark:
            return False
        self.at += len(mark)
        return True

    def value(self):
        self.skip()
        if self.take("{"):
            found = {}
            while not self.take("}"):
                if found and not self.take(","):
                    self.fail("Expecting ',' delimiter")
                key = self.value()
                if not isinstance(key, str) or not self.take(":"):
                    self.fail("Expecting property name enclosed in double quotes and ':'")
                found[key] = self.value()
            return found
        if self.take("["):
            items = []
            while not self.take("]"):
                if items and not self.take(","):
                    self.fail("Expecting ',' delimiter")
                items.append(self.value())
            return items
        if self.take('"'):
            return self.string()
        for word, value in _words.items():
            if self.take(word):
                return value
        return self.number()

    def string(self):
        parts = []
        while self.at < len(self.text):
            c = self.text[self.at]
            self.at += 1
            if c == '"':
                return "".join(parts)
            if c == "\\":
                c = self.text[self.at : self.at + 1]
                self.at += 1
                if c == "u":
                    parts.append(chr(int(self.text[self.at : self.at + 4], 16)))
                    self.at += 4
                    continue
                if c not in _escapes:
                    self.fail("Invalid \\escape")
                c = _escapes[c]
            parts.append(c)
        self.fail("Unterminated string")

    def number(self):
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in "+-.0123456789eE":
            self.at += 1
        text = self.text[start : self.at]
        if not text:
            self.fail("Expecting value")
        return float(text) if any(c in text for c in ".eE") else int(text)


def loads(s, **kwargs):
    reader = _Reader(s)
    value = reader.value()
    reader.skip()
    if reader.at != len(s):
        reader.fail("Extra data")
    return value


def dumps(obj, **kwargs):
    if obj is None or obj is True or obj is False:
        return {None: "null", True: "true", False: "false"}[obj]
    if isinstance(obj, str):
        return '"' + obj.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'
    if isinstance(obj, (int, float)):
        return repr(obj)
    if isinstance(obj, dict):
        return "{" + ", ".join(dumps(str(key)) + ": " + dumps(value) for key, value in obj.items()) + "}"
    if isinstance(obj, (list, tuple)):
        return "[" + ", ".join(map(dumps, obj)) + "]"
    raise TypeError("Object of type " + type(obj).__name__ + " is not JSON serializable")


def load(*args, **kwargs):
    raise Unsupported("json.load: a source has no files here; calling it")


dump = load
