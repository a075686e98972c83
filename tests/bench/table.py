"""Rows of figures: a value and what it is compared with, an aim, and how all that is shown."""
import json
import os
import statistics

# How a value and its base become one number, and how that is written.
KINDS = {
    'ratio': (lambda value, base: value / base, lambda x: '1/%.4g' % (1 / x) if x < 0.2 else '%.2f' % x),
    'times': (lambda value, base: base / value, lambda x: '%.*fx' % (0 if x >= 100 else 2, x)),
    'difference': (lambda value, base: value - base, lambda x: '%+.2f' % x),
    'alone': (lambda value, base: value, lambda x: '%.4g' % x),
}


class Row:
    """
    name: what is said. value, base: keys of samples, or numbers that were found otherwise. kind: see KINDS.
    aim: ('<=', x) or ('>=', x), for the number of that kind. note: what else is to be said.
    """

    def __init__(self, name, value, base=None, kind='ratio', unit='ns', aim=None, note=''):
        self.name, self.value, self.base, self.kind = name, value, base, kind
        self.unit, self.aim, self.note = unit, aim, note


def met(aim, number):
    if aim is None or number is None:
        return None
    return number <= aim[1] if aim[0] == '<=' else number >= aim[1]


def figures(key, samples):
    """(median, minimum), or None: of samples, or of a number."""
    if isinstance(key, (int, float)):
        return key, key
    values = samples.get(key)
    return (statistics.median(values), min(values)) if values else None


def why_not(keys, reasons):
    for key in keys:
        for known in (key, str(key).split('/')[0]):
            if known in reasons:
                return reasons[known]
    return 'not measured'


def work_out(group, row, samples, reasons):
    """One row as it is written to JSON."""
    out = {'group': group, 'name': row.name, 'unit': row.unit, 'kind': row.kind, 'median': None, 'min': None,
           'base': row.base if isinstance(row.base, str) else None, 'base_median': None, 'base_min': None,
           'ratio': None, 'ratio_min': None, 'aim': '%s %.4g' % row.aim if row.aim else None, 'met': None,
           'met_min': None, 'note': row.note}
    value = figures(row.value, samples)
    base = figures(row.base, samples) if row.base is not None else (None, None)
    if not value or not base:
        out['note'] = row.note or why_not([k for k in (row.value, row.base) if k is not None], reasons)
        out['skipped'] = True
        return out
    work = KINDS[row.kind][0]
    out['median'], out['min'] = value
    out['base_median'], out['base_min'] = base
    out['ratio'], out['ratio_min'] = (work(v, b) for v, b in zip(value, base))
    out['met'], out['met_min'] = (met(row.aim, out[which]) for which in ('ratio', 'ratio_min'))
    return out


def number(x):
    return '' if x is None else '%.0f' % x if abs(x) >= 1000 else '%.4g' % x


def mark(row, aim):
    if aim is None:
        return ''
    if row['met']:
        return 'met'
    if row['met_min']:
        return 'met by minima'
    return 'above' if aim[0] == '<=' else 'below'


def text_row(row, aim):
    write = KINDS[row['kind']][1]
    if row.get('skipped'):
        return '%9s %9s  %-66s %s' % ('-', '-', row['name'], row['note'])
    aim_text = '%s %s' % (aim[0], write(aim[1])) if aim else ''
    values = '%s / %s' % (number(row['median']), number(row['base_median'])) if row['base'] else number(row['median'])
    line = '%9s %9s  %-66s %15s %-5s %-9s %s' % (write(row['ratio']), write(row['ratio_min']), row['name'], values,
                                               row['unit'], aim_text, mark(row, aim))
    return (line + ('  ' + row['note'] if row['note'] else '')).rstrip()


def show(groups, samples, reasons):
    """Prints the table; returns all rows as they are written to JSON."""
    print('%9s %9s  %-66s %15s' % ('ratio', 'of least', '', 'median / base'))
    rows = []
    for group, members in groups:
        print('\n' + group)
        for row in members:
            done = work_out(group, row, samples, reasons)
            rows.append(done)
            print(text_row(done, row.aim))
    return rows


def write_json(path, content):
    with open(path + '.new', 'w') as out:
        json.dump(content, out, indent=1)
        out.write('\n')
    os.replace(path + '.new', path)
