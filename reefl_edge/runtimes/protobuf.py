"""How is a protobuf message read, and added to, without a library?

A message is a sequence of fields, each a number and a value; where a field stands twice, what was
added later is merged with what stood before.

Source: https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_FIXED_SIZES = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_MAX_VARINT_BYTES = 10


def fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Give the number and the bytes of each field that has a length.

    Raises:
        IndexError: The message ends within a field.
        ValueError: It is no message.
    """
    position, end = 0, len(message)
    while position < end:
        tag, position = _varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            _, position = _varint(message, position)
            continue
        if wire_type == _LENGTH:
            length, position = _varint(message, position)
        elif wire_type in _FIXED_SIZES:
            length = _FIXED_SIZES[wire_type]
        else:
            raise ValueError(f"no field has wire type {wire_type}")
        if position + length > end:
            raise IndexError("a field is longer than its message")
        if wire_type == _LENGTH:
            yield number, message[position : position + length]
        position += length


def text(message: memoryview, number: int) -> str:
    """Return the text in a field; the last one where there are several, empty where there is none.

    Raises:
        IndexError, ValueError: As for ``fields``, or it is no text.
    """
    values = [bytes(value).decode() for found, value in fields(message) if found == number]
    return values[-1] if values else ""


def field(number: int, content: bytes) -> bytes:
    """Return a field that has a length: a text, or a message in another."""
    return _as_varint(number << 3 | _LENGTH) + _as_varint(len(content)) + content


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return a number of variable length, and where it ends."""
    if (value := message[position]) < 0x80:  # nearly all
        return value, position + 1
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        byte = message[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError("a number has too many bytes")


def _as_varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
