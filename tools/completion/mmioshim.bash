# bash completion of mmioshim(1)

# Options of `mmioshim run` and their words; @map and @file stand for names of files.
_mmioshim_options='
# BEGIN OPTIONS words
map @map
attach
load @file
machine
log @file
log-format text json mmiotrace ring
log-show time pid insn none
log-filter
log-fold off on
backtrace
dirty @file
dirty-mode auto uffd mprotect off
patch on off
lint on off error
unassigned ones zero fault
clock real virtual
plugin none
overlay @file
debug
# END OPTIONS
'

_mmioshim_files() {
    local IFS=$'\n'

    compopt -o filenames 2>/dev/null
    COMPREPLY+=($(compgen -f -- "$1"))
}

_mmioshim_words() {
    local IFS=$' \t\n'

    COMPREPLY+=($(compgen -W "$1" -- "$2"))
}

# Values of one option; the last word of a comma-separated list.
_mmioshim_value() {
    local name=$1 word=$2 option values

    case $name in
    -m) name=--map ;;
    -l) name=--load ;;
    -o) name=--log ;;
    -a) name=--attach ;;
    esac
    while read -r option values; do
        [[ --$option == "$name" ]] || continue
        case $values in
        @map)
            _mmioshim_words 'virt virt-low pc' "$word"
            _mmioshim_files "$word"
            ;;
        @file) _mmioshim_files "$word" ;;
        *)
            _mmioshim_words "$values" "${word##*,}"
            [[ $word != *,* ]] || COMPREPLY=("${COMPREPLY[@]/#/${word%,*},}")
            ;;
        esac
        return 0
    done <<<"$_mmioshim_options"
    return 1
}

_mmioshim_run() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} i names

    # "=" is a word of its own in COMP_WORDS.
    for ((i = 2; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --) i=$((i + 1)); break ;;
        -v | --verbose) ;;
        --*)
            [[ ${COMP_WORDS[i + 1]} == '=' ]] && i=$((i + 1))
            i=$((i + 1))
            ;;
        -[malo]) i=$((i + 1)) ;;
        -*) ;;
        *) break ;;
        esac
    done
    if ((i < COMP_CWORD)) && [[ ${COMP_WORDS[i]} != '=' ]]; then
        # behind the program's name its own completion applies, where there is one
        if declare -F _command_offset >/dev/null; then
            _command_offset "$i"
        else
            _mmioshim_files "$word"
        fi
        return
    fi
    if [[ $word == '=' ]]; then
        _mmioshim_value "$previous" ''
        return
    fi
    [[ $previous == '=' ]] && previous=${COMP_WORDS[COMP_CWORD - 2]}
    if [[ $previous == -* && $previous != -- ]] && _mmioshim_value "$previous" "$word"; then
        return
    fi
    if [[ $word == -* ]]; then
        names=$(sed -n 's/^\([a-z][a-z-]*\).*/--\1/p' <<<"$_mmioshim_options")
        _mmioshim_words "$names --verbose --help -m -a -l -o -v -h" "$word"
    else
        COMPREPLY+=($(compgen -c -- "$word"))
        _mmioshim_files "$word"
    fi
}

_mmioshim() {
    local word=${COMP_WORDS[COMP_CWORD]}

    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        _mmioshim_words 'run map dirty devices decode machine trace help --help --version' "$word"
        return
    fi
    case ${COMP_WORDS[1]} in
    run) _mmioshim_run ;;
    help) _mmioshim_words 'run map dirty devices decode machine trace' "$word" ;;
    map)
        if [[ $word == -* ]]; then
            _mmioshim_words '--json --help' "$word"
        else
            _mmioshim_value --map "$word"
        fi
        ;;
    dirty)
        if [[ $word == -* ]]; then
            _mmioshim_words '--json --png --help' "$word"
        else
            _mmioshim_files "$word"
        fi
        ;;
    machine)
        if ((COMP_CWORD == 2)); then
            _mmioshim_words 'ls rm reset dirty --help' "$word"
        elif [[ $word == -* ]]; then
            _mmioshim_words '--json --png --help' "$word"
        else
            _mmioshim_words "$("${COMP_WORDS[0]}" machine ls 2>/dev/null | cut -d ' ' -f 1)" "$word"
        fi
        ;;
    devices)
        if [[ $word == -* ]]; then
            _mmioshim_words '--json --help' "$word"
        else
            _mmioshim_words "$("${COMP_WORDS[0]}" devices --json 2>/dev/null |
                sed -n 's/^{"type":"\(pci-\)\{0,1\}model","name":"\([^"]*\)".*/\2/p')" "$word"
        fi
        ;;
    trace)
        if ((COMP_CWORD == 2)); then
            _mmioshim_words 'convert stats report --help' "$word"
        elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == -t || ${COMP_WORDS[COMP_CWORD - 1]} == --to ]]; then
            _mmioshim_words 'text json mmiotrace chrome vcd' "$word"
        elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == --show ]]; then
            _mmioshim_value --log-show "$word"
        elif [[ $word == -* && ${COMP_WORDS[2]} == convert ]]; then
            _mmioshim_words '--to --output --show --help -t -o -h' "$word"
        elif [[ $word == -* ]]; then
            _mmioshim_words '--json --help' "$word"
        else
            _mmioshim_files "$word"
        fi
        ;;
    decode) _mmioshim_words '--help' "$word" ;;
    esac
}

complete -F _mmioshim mmioshim
