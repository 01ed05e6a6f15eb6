"""Event files of TensorBoard, written byte by byte: TFRecords of `Event` messages with one scalar each.

A record is its length (u64), the masked CRC-32C of these eight bytes, the message, and its masked CRC-32C, all little-endian. Of `Event`
the fields wall_time (1, double), step (2, varint), file_version (3, string) and summary (5) are written, of `Summary` value (1), of
`Summary.Value` tag (1, string) and simple_value (2, float).
"""

from __future__ import annotations

import struct
from typing import Iterable, List, Tuple

from ..record import Record
from . import scalars
from .files import AnyPath, outside, write_whole

# Castagnoli's polynomial, its bits reversed.
POLYNOMIAL = 0x82F63B78
MASK = 0xA282EAD8
VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5

Scalar = Tuple[float, int, str, float]


def to_tensorboard(record: Record, folder: AnyPath, curves: str = "elites") -> None:
    """Writes FOLDER/NAME, NAME being the run's: numbers by cycle (step is the cycle), and FOLDER/NAME/curves/NETWORK-seedN: learning curves
    (step is the epoch) of `curves`: elites, all or none.

    TensorBoard keeps scalars as 32-bit floats: seven digits are right. Wall times are those of `scalars.moments`.
    Raises EliteloopError where `folder` is inside the run or `curves` is none of those, OSError where it cannot be written.
    """
    out = outside(record, folder) / record.name
    moments = scalars.moments(record)
    lines = [(moments[cycle], cycle, tag, value) for cycle, numbers in scalars.by_cycle(record) for tag, value in numbers.items()]
    start = moments[0]
    # One name for each run: an export of the same run takes the place of the one before.
    name = f"events.out.tfevents.{int(start)}.eliteloop"
    write_whole(out / name, _events(start, lines))
    for curve in scalars.curves(record, curves):
        # A cycle that is not closed has no time of its own yet.
        at = moments.get(curve.cycle, moments[record.last_cycle])
        points = [(at, epoch, tag, value) for epoch, numbers in curve.points for tag, value in numbers.items()]
        write_whole(out / "curves" / curve.name / name, _events(start, points))


def _events(start: float, scalars_: Iterable[Scalar]) -> bytes:
    events: List[bytes] = [_field(1, EIGHT_BYTES, struct.pack("<d", start)) + _string(3, "brain.Event:2")]
    for wall_time, step, tag, value in scalars_:
        one = _string(1, tag) + _field(2, FOUR_BYTES, struct.pack("<f", value))
        event = _field(1, EIGHT_BYTES, struct.pack("<d", wall_time)) + _field(2, VARINT, _varint(step))
        events.append(event + _message(5, _message(1, one)))
    return b"".join(map(_record, events))


def _record(message: bytes) -> bytes:
    length = struct.pack("<Q", len(message))
    return length + _masked_crc(length) + message + _masked_crc(message)


def _field(number: int, wire: int, payload: bytes) -> bytes:
    return _varint(number << 3 | wire) + payload


def _message(number: int, content: bytes) -> bytes:
    return _field(number, BYTES, _varint(len(content)) + content)


def _string(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (POLYNOMIAL if byte & 1 else 0)
    return byte


CRC_OF_BYTE = [_crc_of_byte(byte) for byte in range(256)]


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_OF_BYTE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _masked_crc(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF)
