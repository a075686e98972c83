#!/bin/sh
# gen-options.sh: documentation of the options, from preload/config/options.def, the only place where they are
# written down.
#
#   gen-options.sh options      mdoc: the options of `mmioshim run`
#   gen-options.sh environment  mdoc: the environment variables
#   gen-options.sh markdown     the table for README.md
#   gen-options.sh words        what the shell's completion offers: "option values", a line each
#   gen-options.sh update FILE...
#       replaces what stands between "BEGIN OPTIONS kind" and "END OPTIONS" in each file
#   gen-options.sh check FILE...
#       exit status 1 if update would change one of them
set -eu

root=$(dirname "$0")/..
table=$root/preload/config/options.def

# Calls the awk program with variable, option, type, default, values and help of each row.
rows() {
    awk -F '"' "$1"'
        /^OPTION\(/ {
            type = $5
            gsub(/[ ,]/, "", type)
            row($2, $4, type, $6, $8, $10)
        }' "$table"
}

# A sentence in mdoc: hyphens that stay hyphens, no backslash taken for an escape.
mdoc='
        function mdoc(text) { gsub(/\\/, "\\e", text); gsub(/-/, "\\-", text); return text }
        function sentence(text) { return toupper(substr(text, 1, 1)) mdoc(substr(text, 2)) "." }'

options() {
    rows "$mdoc"'
        function row(variable, option, type, def, values, help) {
            short = option ~ /^(map|attach|load)$/ ? substr(option, 1, 1) : option == "log" ? "o" : ""
            print ".It " (short == "" ? "" : "Fl " short " Ar value , ") "Fl -" option " Ns = Ns Ar value"
            print sentence(help)
            print "Value:\n.Ql " mdoc(values) (def == "" ? " ." : " ;")
            if (def != "")
                print "default:\n.Ql " mdoc(def) " ."
        }'
}

environment() {
    rows "$mdoc"'
        function row(variable, option, type, def, values, help) {
            print ".It Ev " variable " Pq Fl -" option
            print sentence(help)
        }'
}

markdown() {
    echo '| variable | option of `mmioshim run` | values | default | meaning |'
    echo '|---|---|---|---|---|'
    rows '
        function cell(text) { gsub(/\|/, "\\|", text); return text }
        function row(variable, option, type, def, values, help) {
            printf "| `%s` | `--%s` | `%s` | %s | %s |\n", variable, option, cell(values),
                def == "" ? "none" : "`" cell(def) "`", cell(help)
        }'
}

# Words that can be completed: choices and flags; other values are files, names or numbers.
words() {
    rows '
        function row(variable, option, type, def, values, help) {
            if (type == "CHOICE" || type == "FLAGS")
                gsub(/\|/, " ", values)
            else if (type == "MAP")
                values = "@map"
            else if (type == "LOG" || type == "FILE" || type == "LOAD")
                values = "@file"
            else
                values = ""
            print option (values == "" ? "" : " " values)
        }'
}

generate() {
    case $1 in
    options | environment | markdown | words) "$1" ;;
    *) echo "gen-options.sh: unknown kind '$1'; known: options environment markdown words" >&2; return 2 ;;
    esac
}

# Writes the file with its generated part made anew to standard output.
renew() {
    kind=$(sed -n 's/.*BEGIN OPTIONS \([a-z]*\).*/\1/p' "$1" | head -n 1)
    [ -n "$kind" ] || { echo "gen-options.sh: $1 has no BEGIN OPTIONS" >&2; return 2; }
    grep -q 'END OPTIONS' "$1" || { echo "gen-options.sh: $1 has no END OPTIONS" >&2; return 2; }
    sed '/BEGIN OPTIONS/q' "$1"
    generate "$kind"
    sed -n '/END OPTIONS/,$p' "$1"
}

new=
trap 'rm -f "$new"' EXIT
case ${1:-} in
update | check)
    verb=$1
    shift
    new=$(mktemp)
    stale=0
    for file; do
        renew "$file" > "$new"
        cmp -s "$new" "$file" && continue
        if [ "$verb" = update ]; then
            cat "$new" > "$file"
        else
            echo "gen-options.sh: $file is out of date; run tools/gen-options.sh update $file" >&2
            stale=1
        fi
    done
    exit $stale
    ;;
'') sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0" >&2; exit 2 ;;
*) generate "$1" ;;
esac
