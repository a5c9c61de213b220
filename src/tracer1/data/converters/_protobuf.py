"""Protobuf messages from a table of their fields, so that neither TensorFlow nor android_env is needed to read what they wrote.

A field that the table leaves out is skipped when reading. Strings are declared as bytes, which are the same on the wire: one that
is not UTF-8 does not make a whole message unreadable. It knows nothing about files.
"""

import functools
from collections.abc import Mapping
from typing import Any

Fields = Mapping[str, tuple[int, str]]  # field name -> its number, and `bytes`, `int32`, `int64`, `bool` or a message

# tf.train.Example (tensorflow/core/example/example.proto and feature.proto). A map is a list of entries on the wire.
EXAMPLE: dict[str, Fields] = {
    "Example": {"features": (1, "Features")},
    "Features": {"feature": (1, "*Entry")},
    "Entry": {"key": (1, "bytes"), "value": (2, "Feature")},
    "Feature": {"bytes_list": (1, "BytesList"), "int64_list": (3, "Int64List")},
    "BytesList": {"value": (1, "*bytes")},
    "Int64List": {"value": (1, "*int64")},
}


def message_class(table: Mapping[str, Fields], name: str) -> Any:
    """The class of the message `name` out of a table of messages that refer to each other; `*` before a kind: repeated."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # late: only this format needs it

    field_type = descriptor_pb2.FieldDescriptorProto
    scalars = {
        "bytes": field_type.TYPE_BYTES,
        "int32": field_type.TYPE_INT32,
        "int64": field_type.TYPE_INT64,
        "bool": field_type.TYPE_BOOL,
    }
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", syntax="proto3", package="tracer1")
    for message_name, fields in table.items():
        message = file.message_type.add(name=message_name)
        for field_name, (number, kind) in fields.items():
            field = message.field.add(name=field_name, number=number)
            field.label = field_type.LABEL_REPEATED if kind.startswith("*") else field_type.LABEL_OPTIONAL
            kind = kind.removeprefix("*")
            field.type = scalars.get(kind, field_type.TYPE_MESSAGE)
            if kind not in scalars:
                field.type_name = f".tracer1.{kind}"
    pool = descriptor_pool.DescriptorPool()  # our own: nothing meets the classes of an installed TensorFlow
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tracer1.{name}"))


@functools.cache
def _example_class() -> Any:
    return message_class(EXAMPLE, "Example")


def parse(message_type: Any, data: bytes) -> Any:
    """The message that `data` holds. Raises ValueError where they hold none."""
    from google.protobuf.message import DecodeError

    try:
        return message_type.FromString(data)
    except DecodeError as error:
        raise ValueError(f"not a {message_type.DESCRIPTOR.name}: {error}") from error


def read_example(data: bytes) -> dict[str, list[bytes] | list[int]]:
    """The features of a serialised tf.train.Example, bytes and whole numbers; empty ones are empty lists.

    Raises:
        ValueError: It is no tf.train.Example.
    """
    example = parse(_example_class(), data)
    features: dict[str, list[bytes] | list[int]] = {}
    for entry in example.features.feature:
        value = entry.value
        features[entry.key.decode("utf-8", "replace")] = list(value.bytes_list.value) or list(value.int64_list.value)
    return features
