"""Run the kernels of AVX-512 without a processor that has it.

Usage: emulate.py KERNELS.s SEED

Reads the generated assembly and interprets it, instruction by instruction, in
integers of any size, on drawn inputs, and compares what it leaves in memory with
counting. A kernel of AVX2 goes the same way first: machines that have it show
that the interpreter reads instructions as processors do. Registers begin with
random values, and memory around the results must not change. Ends with 0 and a
line for each kernel, or with an assertion.
"""

import collections
import random
import re
import sys

WORD = (1 << 64) - 1


def parse(path):
    """Return the constants and the functions of an assembly file."""
    constants, functions, current = {}, {}, None
    with open(path, encoding="utf-8") as f:
        lines = [line.split("//")[0].strip() for line in f]
    for line in filter(None, lines):
        if m := re.match(r"DATA (\w+)<>\+(\d+)\(SB\)/8, \$(0x[0-9a-f]+)", line):
            constants.setdefault(m[1], {})[int(m[2])] = int(m[3], 16)
        elif m := re.match(r"TEXT ·(\w+)\(SB\)", line):
            current = functions[m[1]] = ([], {})
        elif m := re.match(r"(\w+):$", line):
            current[1][m[1]] = len(current[0])
        elif current and not line.startswith(("GLOBL", "#")):
            operation, _, rest = line.partition(" ")
            current[0].append((operation, [o.strip() for o in rest.split(", ")] if rest.strip() else []))
    return constants, functions


def signed(x, bits=64):
    return x - (1 << bits) if x >> (bits - 1) & 1 else x


def split(x, width, count):
    return [x >> width * i & (1 << width) - 1 for i in range(count)]


def join(parts, width):
    return sum((x & (1 << width) - 1) << width * i for i, x in enumerate(parts))


def ones(x):
    return bin(x).count("1")


def ternary(table, a, b, c, full=(1 << 512) - 1):
    result = 0
    for i in range(8):
        if table >> i & 1:
            result |= (a if i & 4 else a ^ full) & (b if i & 2 else b ^ full) & (c if i & 1 else c ^ full)
    return result


def lanes(op, x, y):
    """Operations on two vectors x, y (in the order of the assembly)."""
    if op in ("VPXOR", "VPXORQ"):
        return x ^ y
    if op in ("VPAND", "VPANDQ"):
        return x & y
    if op in ("VPOR", "VPORQ"):
        return x | y
    if op == "VPADDQ":
        return join([a + b for a, b in zip(split(x, 64, 8), split(y, 64, 8))], 64)
    if op == "VPSUBD":
        return join([b - a for a, b in zip(split(x, 32, 16), split(y, 32, 16))], 32)
    if op in ("VPUNPCKHQDQ", "VPUNPCKLQDQ"):
        h, xs, ys = "H" in op, split(x, 64, 8), split(y, 64, 8)
        return join([w for q in range(4) for w in (ys[2 * q + h], xs[2 * q + h])], 64)
    if op in ("VPCMPEQB", "VPCMPEQD"):
        width = 8 if op == "VPCMPEQB" else 32
        return join([-(a == b) for a, b in zip(split(x, width, 512 // width), split(y, width, 512 // width))], width)
    raise NotImplementedError(op)


class Machine:
    def __init__(self, constants):
        self.memory, self.top, self.stack = bytearray(1 << 20), 4096, (1 << 20) - 16384
        self.registers = collections.defaultdict(lambda: random.getrandbits(64))
        self.vectors = collections.defaultdict(lambda: random.getrandbits(512))
        self.symbols = {n: self.put([c[i] for i in sorted(c)], 8) for n, c in constants.items()}

    def put(self, values, size):
        at = self.top
        for i, v in enumerate(values):
            self.store(at + i * size, v, size)
        self.top += (len(values) * size + 191) & ~63
        return at

    def load(self, at, size):
        return int.from_bytes(self.memory[at : at + size], "little")

    def store(self, at, value, size):
        self.memory[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")

    def address(self, operand):
        if m := re.match(r"(\w+)<>\+(\d+)\(SB\)$", operand):
            return self.symbols[m[1]] + int(m[2])
        m = re.match(r"(-?\d+)?\((\w+)\)(?:\((\w+)\*(\d)\))?$", operand)
        base = self.stack if m[2] == "SP" else self.registers[m[2]]
        return base + int(m[1] or 0) + (self.registers[m[3]] * int(m[4]) if m[3] else 0) & WORD

    def get(self, operand, size=8):
        if operand[0] == "$":
            return int(operand[1:], 16)
        if m := re.match(r"(\w+)\+\d+\(FP\)$", operand):
            return self.arguments[m[1]] & WORD
        value = self.load(self.address(operand), size) if "(" in operand else self.registers[operand]
        return value & (1 << 8 * size) - 1

    def vector(self, operand, size):
        value = self.load(self.address(operand), size) if "(" in operand else self.vectors[operand[1:]]
        return value & (1 << 8 * size) - 1

    def run(self, function, arguments):
        code, labels = function
        self.arguments, self.flags, at = arguments, 0, 0
        while code[at][0] != "RET":
            op, operands = code[at]
            at = labels[operands[0]] if self.jumps(op) else at + 1
            if op[0] == "J":
                continue
            if op[0] == "V" or op == "KMOVW":
                self.on_vectors(op, operands)
            else:
                self.on_words(op, operands)

    def jumps(self, op):
        f = self.flags
        return {"JMP": True, "JGE": f >= 0, "JLT": f < 0, "JLE": f <= 0, "JZ": f == 0, "JS": f < 0}.get(op, False)

    def on_words(self, op, o):
        r, to = self.registers, o[-1]
        size = 4 if op[-1] == "L" else 8
        if op in ("MOVQ", "MOVL"):
            if m := re.match(r"(\w+)\+\d+\(FP\)$", to):
                self.arguments[m[1]] = self.get(o[0])
            elif "(" in to:
                self.store(self.address(to), self.get(o[0], size), size)
            else:
                r[to] = self.get(o[0], size)
        elif op == "LEAQ":
            r[to] = self.address(o[0])
        elif op == "MOVWQZX":
            r[to] = self.get(o[0], 2)
        elif op == "MOVLQSX":
            r[to] = signed(self.get(o[0], 4), 32) & WORD
        elif op in ("ADDQ", "SUBQ", "XORQ", "XORL", "ANDQ"):
            x, y = self.get(o[0], size), self.get(to, size)
            r[to] = {"ADD": y + x, "SUB": y - x, "XOR": y ^ x, "AND": y & x}[op[:3]] & (1 << 8 * size) - 1
            self.flags = signed(y) - signed(x) if op == "SUBQ" else signed(r[to], 8 * size)
        elif op in ("NEGQ", "INCQ"):
            r[to] = (-r[to] if op == "NEGQ" else r[to] + 1) & WORD
        elif op in ("SHLQ", "SHRQ"):
            r[to] = (r[to] << self.get(o[0]) if op == "SHLQ" else r[to] >> self.get(o[0])) & WORD
        elif op in ("CMPQ", "CMPL"):
            self.flags = signed(self.get(o[0], size), 8 * size) - signed(self.get(o[1], size), 8 * size)
        elif op in ("TESTQ", "TESTL"):
            self.flags = signed(self.get(o[0], size) & self.get(o[1], size), 8 * size)
        elif op == "POPCNTL":
            r[to] = ones(self.get(o[0], 4))
        elif op == "NOTL":
            r[to] ^= (1 << 32) - 1
        elif op in ("CMOVQGE", "CMOVQLT"):
            if (self.flags < 0) == (op == "CMOVQLT"):
                r[to] = r[o[0]]
        else:
            raise NotImplementedError(op)

    def on_vectors(self, op, o):
        if op == "VZEROUPPER":
            self.vectors = collections.defaultdict(int, {k: v & (1 << 128) - 1 for k, v in self.vectors.items()})
            return
        to = o[-1]
        size = 32 if any(re.match(r"Y\d+$", x) for x in o) and op != "VPMOVZXWD" else 64
        if op in ("VMOVDQU", "VMOVDQA", "VMOVDQU64", "VMOVDQA64"):
            value = self.vector(o[0], size)
            if "(" in to:
                self.store(self.address(to), value, size)
                return
        elif op == "KMOVW":
            self.registers[to] = self.vectors[o[0][1:] + "mask"] & 0xFFFF
            return
        elif op == "VPMOVMSKB":
            self.registers[to] = sum((x >> 7) << i for i, x in enumerate(split(self.vector(o[0], 32), 8, 32)))
            return
        elif op == "VPBROADCASTQ":
            value = join([self.get(o[0])] * (size // 8), 64)
        elif op == "VPBROADCASTD":
            value = join([self.get(o[0], 4)] * 16, 32)
        elif op == "VPTERNLOGQ":
            value = ternary(self.get(o[0]), self.vector(o[3], 64), self.vector(o[2], 64), self.vector(o[1], 64))
        elif op == "VPOPCNTQ":
            value = join([ones(x) for x in split(self.vector(o[0], 64), 64, 8)], 64)
        elif op == "VPSLLQ":
            value = join([x << self.get(o[0]) for x in split(self.vector(o[1], 64), 64, 8)], 64)
        elif op == "VSHUFI64X2":
            order, second, first = self.get(o[0]), split(self.vector(o[1], 64), 128, 4), split(self.vector(o[2], 64), 128, 4)
            value = join([first[order & 3], first[order >> 2 & 3], second[order >> 4 & 3], second[order >> 6 & 3]], 128)
        elif op == "VPMOVZXWD":
            value = join(split(self.vector(o[0], 32), 16, 16), 32)
        else:
            value = lanes(op, self.vector(o[0], size), self.vector(o[1], size))
            if to[0] == "K":
                self.vectors[to[1:] + "mask"] = sum((x & 1) << i for i, x in enumerate(split(value, 32, 16)))
                return
        self.vectors[to[1:]] = value & (1 << 8 * size) - 1


GUARD = [0xEE] * 64


def pattern(bits):
    return random.choice(
        [0, (1 << bits) - 1, 1, 1 << bits - 1, int("aa" * (bits // 8), 16), random.getrandbits(bits), random.getrandbits(bits)]
    )


def try_fields(constants, functions, name, count, group):
    checked = 0
    for fields in range(1, 17):
        for least in (group, group + 1, group + fields, 2 * group - 1, 2 * group, 3 * group + random.randrange(group)):
            units = -(-least // fields) * fields
            record, rows = [pattern(512) for _ in range(fields)], [pattern(512) for _ in range(units)]
            m = Machine(constants)
            counts = m.put([0xEEEEEEEE] * units, 4)
            m.put(GUARD, 1)
            after = bytes(m.memory[counts + 4 * units : m.top])
            m.run(functions[name], {"counts": counts, "record": m.put(record, 64), "rows": m.put(rows, 64), "fields": fields, "units": units})
            got = [m.load(counts + 4 * i, 4) for i in range(units)]
            assert got == [count(record[i % fields], row) for i, row in enumerate(rows)], (name, fields, units)
            assert bytes(m.memory[counts + 4 * units : counts + 4 * units + len(after)]) == after, (name, "wrote beyond")
            checked += units
    print(name, checked, "units")


def try_scan(constants, functions, name, width, depth, most_chunks, rounds):
    checked = alive_lanes = 0
    top = (16 << depth) - 1
    for _ in range(rounds):
        planes = [random.choice([0, (1 << width) - 1, random.getrandbits(width), random.getrandbits(width) | random.getrandbits(width)]) for _ in range(40)]
        planes.append(0)
        n, chunks = random.randrange(1, 6), random.randrange(1, most_chunks)
        first = random.randrange(1, chunks + 1)
        lists = [[random.randrange(41) for _ in range(16 * chunks)] for _ in range(n)]
        allowed = [random.choice([-1, -5, 0, 1, top, random.randrange(top + 1), min(top, 8 * chunks), min(top, 11 * chunks)]) for _ in range(n)]
        want_rows, want_lanes, done = [], [], 0
        for row, places in enumerate(lists):
            if allowed[row] < 0:
                continue
            missing = [0] * width
            for c in range(1, chunks + 1):
                for place in places[16 * c - 16 : 16 * c]:
                    missing = [x + (planes[place] >> lane & 1) for lane, x in enumerate(missing)]
                alive = sum((x <= allowed[row]) << lane for lane, x in enumerate(missing))
                if c >= first and alive == 0:
                    break
            done, checked = done + c, checked + 1
            if alive:
                want_rows, want_lanes = want_rows + [row], want_lanes + [alive]
                alive_lanes += ones(alive)
        m = Machine(constants)
        rows, results = m.put([0xEEEEEEEE] * (n + 1), 4), m.put([0xEE] * (n + 1), width // 8)
        arguments = {
            "tile": m.put(planes, width // 8), "places": m.put([p * (width // 64) for places in lists for p in places], 2),
            "chunks": chunks, "first": first, "n": n, "allowed": m.put(allowed, 4), "rows": rows, "lanes": results,
        }  # fmt: skip
        m.run(functions[name], arguments)
        assert (arguments["count"], arguments["done"]) == (len(want_rows), done), name
        k = len(want_rows)
        assert [m.load(rows + 4 * i, 4) for i in range(k + 1)] == want_rows + [0xEEEEEEEE], name
        assert [m.load(results + width // 8 * i, width // 8) for i in range(k + 1)] == want_lanes + [0xEE], name
    assert alive_lanes and alive_lanes < checked * width
    print(name, checked, "rows,", alive_lanes, "lanes alive")


def main():
    constants, functions = parse(sys.argv[1])
    random.seed(int(sys.argv[2]))
    try_scan(constants, functions, "scan3AVX2", 256, 3, 14, 8)
    try_scan(constants, functions, "scan3AVX512", 512, 3, 14, 12)
    try_scan(constants, functions, "scan7AVX512", 512, 7, 80, 5)
    try_fields(constants, functions, "equal512AVX512", lambda a, b: 512 - ones(a ^ b), 16)
    try_fields(constants, functions, "common512AVX512", lambda a, b: ones(a & b), 16)


main()
