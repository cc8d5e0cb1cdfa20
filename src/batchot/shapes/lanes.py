"""One step of the z-buffer for sixteen samples of a row at once.

The loop that this stands for is seven lines, but whether the compiler finds vector instructions in it turns on its
version and mood, and the time of a picture is spent here. So the vectors are written down.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 16
"""Samples that are compared at a time; as many more than a buffer's last sample may be touched."""


@intrinsic
def nearer(typing_context, buffer, index, depth, slope, least, most, code, count):  # type: ignore[no-untyped-def]
    """For lane = 0 … min(count, 16) - 1: buffer[index + lane] = max(buffer[index + lane], key(lane)).

    key(lane) is the whole part of depth + lane · slope, held between least and most, above the code, of which the
    lower 8 bits are used in a buffer of 32 bits and 40 in one of 64.

    Args:
        buffer: flat array of uint32 or uint64.
        index: of the first sample, int64; at least 16 samples must follow.
        depth, slope, least, most: float32.
        code: of the buffer's type.
        count: int32.
    """
    word = buffer.dtype.bitwidth
    shift = 8 if word == 32 else 40
    signature = types.void(
        buffer,
        types.int64,
        types.float32,
        types.float32,
        types.float32,
        types.float32,
        buffer.dtype,
        types.int32,
    )

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, depth, slope, least, most, code, count = arguments
        integer, key_type = ir.IntType(32), ir.IntType(word)

        def spread(scalar: Any) -> Any:
            one = ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined)
            first = builder.insert_element(one, scalar, ir.Constant(integer, 0))
            return builder.shuffle_vector(first, one, ir.Constant(ir.VectorType(integer, LANES), [0] * LANES))

        lanes = ir.Constant(ir.VectorType(integer, LANES), list(range(LANES)))
        lanes_float = ir.Constant(ir.VectorType(ir.FloatType(), LANES), [float(i) for i in range(LANES)])
        data = context.make_array(signature.args[0])(context, builder, array).data
        vector = ir.VectorType(key_type, LANES)
        place = builder.bitcast(builder.gep(data, [index]), vector.as_pointer())
        old = builder.load(place, align=word // 8)
        t = builder.fadd(spread(depth), builder.fmul(lanes_float, spread(slope)))
        low, high = spread(least), spread(most)
        t = builder.select(builder.fcmp_ordered(">", t, low), t, low)
        t = builder.select(builder.fcmp_ordered("<", t, high), t, high)
        level = builder.fptoui(t, ir.VectorType(integer, LANES))
        if word == 64:
            level = builder.zext(level, vector)
        key = builder.or_(builder.shl(level, ir.Constant(vector, [shift] * LANES)), spread(code))
        wins = builder.and_(
            builder.icmp_signed("<", lanes, spread(count)), builder.icmp_unsigned(">", key, old)
        )
        builder.store(builder.select(wins, key, old), place, align=word // 8)
        return context.get_dummy_value()

    return signature, generate
