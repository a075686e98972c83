"""Reads a VCD file (IEEE 1364-2005, clause 18) by its grammar; prints how many variables and changes it has.
   vcd.py FILE [MODULE.NAME...]: also the values that these had, in order"""
import re
import sys

tokens = open(sys.argv[1]).read().split()
wanted = sys.argv[2:]
variables, values, scope, history = {}, {}, [], {name: [] for name in wanted}
at, now, changes, defined, dumping = 0, -1, 0, False, False


def to_end(start):
    end = tokens.index('$end', start)
    return tokens[start:end], end + 1


while at < len(tokens):
    token = tokens[at]
    if token == '$timescale':
        body, at = to_end(at + 1)
        assert body == ['1', 'ns'], body
    elif token == '$comment':
        _, at = to_end(at + 1)
    elif token == '$scope':
        body, at = to_end(at + 1)
        assert not defined and body[0] == 'module' and re.fullmatch(r'[A-Za-z_]\w*', body[1]) and len(body) == 2, body
        scope.append(body[1])
    elif token == '$upscope':
        body, at = to_end(at + 1)
        assert scope.pop() and not body
    elif token == '$var':
        body, at = to_end(at + 1)
        kind, size, code, name = body[0], int(body[1]), body[2], body[3]
        assert scope and not defined and (kind, size == 1) in (('wire', True), ('reg', False)), body
        assert re.fullmatch(r'[!-~]+', code) and code not in variables and re.fullmatch(r'\w+', name), body
        assert body[4:] == ([] if size == 1 else ['[%d:0]' % (size - 1)]), body
        variables[code] = (size, '.'.join(scope + [name]))
    elif token == '$enddefinitions':
        body, at = to_end(at + 1)
        defined = True
        assert not scope and not body
    elif token == '$dumpvars':
        assert defined and now == 0
        dumping, at = True, at + 1
    elif token == '$end':
        assert dumping and set(values) == set(variables), 'not every variable has a first value'
        dumping, at = False, at + 1
    elif token[0] == '#':
        time = int(token[1:])
        assert defined and time > now, 'time goes from %d to %d' % (now, time)
        now, at = time, at + 1
    else:
        if token[0] == 'b':
            value, code, at = token[1:], tokens[at + 1], at + 2
        else:
            value, code, at = token[0], token[1:], at + 1
        size, name = variables[code]
        assert now >= 0 and (value == 'x' or re.fullmatch('[01]{%d}' % size, value)), (name, value)
        assert (token[0] == 'b') == (size > 1), token
        values[code] = value
        if not dumping:
            changes += 1
            if name in history:
                history[name].append(value)
assert defined and not dumping and len({name for _, name in variables.values()}) == len(variables)
print('%d variables, %d changes' % (len(variables), changes))
for name in wanted:
    print(name, *history[name])
