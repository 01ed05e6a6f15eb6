# `ml_collections`: configurations.
from _import import missing
from easydict import EasyDict

__getattr__ = missing("ml_collections")


class ConfigDict(EasyDict):
    def get_ref(self, name):
        return self[name]

    def to_dict(self):
        return {key: value.to_dict() if isinstance(value, ConfigDict) else value for key, value in self.items()}

    def lock(self):
        return self

    unlock = lock


FrozenConfigDict = ConfigDict
